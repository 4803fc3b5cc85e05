"""The only floor that knows IPython: magics, cell output, waiting inside a cell."""
