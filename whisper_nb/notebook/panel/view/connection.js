// The connection of a view to the kernel.

/** Seconds without an answer after which the kernel counts as busy. */
const SILENCE_S = 0.5;
let views = 0;

/** The connection of one view to the kernel: it sends requests, and finds out whether the kernel answers. */
export class Connection {
  waiting = new Map(); // the id of a request → what to do with its answer
  cells = new Set(); // the ids of the cells that run
  id = 0;
  heardAt = performance.now();
  watch = 0;

  constructor(model, hear) {
    [this.model, this.hear, this.kernel] = [model, hear, model.widget_manager?.kernel];
    this.view = `v${(++views).toString(36)}${crypto.getRandomValues(new Uint32Array(2)).join("")}`.slice(0, 32);
    model.on("msg:custom", this.onMessage);
    this.kernel?.statusChanged?.connect(this.onStatus);
    this.kernel?.iopubMessage?.connect(this.onKernelMessage);
  }

  /** Send a request. Returns its id, 0 if it cannot be sent. */
  send(content) {
    try {
      this.model.send({ view: this.view, id: ++this.id, ...content });
      return this.id;
    } catch {
      this.hear({ kind: "silent", gone: true });
      return 0;
    }
  }

  /** Send a request, and call `done` with its answer. */
  ask(content, done) {
    const id = this.send(content);
    if (!id) return;
    const timer = setTimeout(() => this.hear({ kind: "silent", gone: false }), SILENCE_S * 1000);
    this.waiting.set(id, { done, timer });
  }

  onMessage = (message) => {
    this.heardAt = performance.now();
    if (message.kind !== "done") return this.hear(message);
    if (message.view !== this.view) return this.hear({ kind: "alive" });
    const request = this.waiting.get(message.id);
    clearTimeout(request?.timer);
    this.waiting.delete(message.id);
    this.hear({ kind: "alive" });
    return request?.done?.(message);
  };

  /** While a cell runs and no message comes, a ping finds out whether that cell blocks the kernel. */
  listen(wait) {
    clearTimeout(this.watch);
    if (!this.cells.size) return;
    this.watch = setTimeout(() => {
      if (!this.waiting.size && performance.now() - this.heardAt > SILENCE_S * 1000) this.ask({ do: "ping" });
      this.listen(Math.min(wait * 2, 6));
    }, wait * 1000);
  }

  onKernelMessage = (_, { header, parent_header: parent, content }) => {
    // The panel's own requests make the kernel busy, too: only cells count.
    if (header.msg_type !== "status" || parent.msg_type !== "execute_request") return;
    if (content.execution_state === "busy") this.cells.add(parent.msg_id);
    else if (this.cells.delete(parent.msg_id)) this.hear({ kind: "turn" });
    this.listen(SILENCE_S);
  };

  onStatus = () => {
    if (!["restarting", "autorestarting", "dead", "terminating"].includes(this.kernel.status)) return;
    this.cells.clear();
    this.hear({ kind: "silent", gone: true, ended: true });
  };

  get busy() {
    return this.cells.size > 0 || this.kernel?.status === "busy";
  }

  close() {
    this.model.off("msg:custom", this.onMessage);
    this.kernel?.statusChanged?.disconnect(this.onStatus);
    this.kernel?.iopubMessage?.disconnect(this.onKernelMessage);
    clearTimeout(this.watch);
    for (const { timer } of this.waiting.values()) clearTimeout(timer);
  }
}
