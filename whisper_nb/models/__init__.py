"""The models that agents talk to."""
