// What `panels.page` runs in a browser: the panel with a thousand rows, and a plain table of the same rows beside it.
// The page is given the messages that a kernel would send; what the panel sends is dropped.

async ([source, agents]) => {
  const STEPS = 240, CHANGED = 100, LONG_MS = 50;
  const { default: widget } = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  const here = document.getElementById("here");
  const now = () => Date.now() / 1000;
  const names = [...Array(agents).keys()].map((number) => `agent-${number}`);

  const frame = () => new Promise((drawn, failed) => {
    if (performance.now() > 120_000) failed(new Error("the page was not drawn within two minutes"));
    else requestAnimationFrame(drawn);
  });

  /** The names of the agents that change in a step, and the state that each has then. */
  const changes = (step) => ({
    changed: [...Array(CHANGED).keys()].map((at) => (at * 7 + step * 13) % agents),
    state: step % 12 ? "idle" : "running",
  });

  /** Scroll, with changes to a tenth of the rows now and then. Returns the longest frame in ms, and the long ones. */
  async function scrolled(scroll, change) {
    let longest = 0, long = 0, last = await frame();
    for (let step = 0; step < STEPS; step++) {
      if (step % 6 === 0) change(changes(step), step);
      scroll.scrollTop += 120;
      const next = await frame();
      longest = Math.max(longest, next - last);
      long += next - last > LONG_MS ? 1 : 0;
      last = next;
    }
    scroll.scrollTop = 0;
    await frame();
    await frame();
    return { longest, long };
  }

  async function plain() {
    const start = performance.now();
    const scroll = document.createElement("div");
    scroll.style = "height: 480px; overflow: auto";
    const table = document.createElement("table");
    const cells = names.map((name) => {
      const row = table.insertRow();
      return [name, "idle", "Counts", "0", "165", "$0.03", "offline/echo", ""].map((text) => {
        const cell = row.insertCell();
        cell.textContent = text;
        return cell;
      });
    });
    scroll.append(table);
    here.append(scroll);
    await frame();
    await frame();
    const first = performance.now() - start;
    const frames = await scrolled(scroll, ({ changed, state }, step) => {
      for (const at of changed) [cells[at][1].textContent, cells[at][4].textContent] = [state, `${step}`];
    });
    scroll.remove();
    return { first, ...frames };
  }

  async function panel() {
    const model = { on: (_, call) => { model.receive = call; }, off() {}, send() {} };
    const all = (value) => names.map(() => value);
    const table = {
      name: names, state: all("idle"), since: all(now() - 9), now: all(""), queued: all(0), queue: all([]),
      runs: all(3), input: all(120), output: all(45), cost: all(0.01), unpriced: all(0), uncounted: all(0), at_work: all(0),
      model: all("offline/echo"), error: all(""), title: all(""), about: all("Counts"), icon: all(""), color: all("teal"),
      spans: all([[now() - 60, "running"], [now() - 9, "idle"]]),
    };
    const gone = { runs: 0, input: 0, output: 0, cost: 0, unpriced: 0, uncounted: 0, at_work: 0 };
    const start = performance.now();
    let number = 1;
    const update = (...tables) =>
      model.receive({ kind: "update", number: ++number, now: now(), rows: { tables }, details: {} });
    widget.render({ model, el: here });
    model.receive({ kind: "all", number, now: now(), rows: { added: names, tables: [table] }, gone, team: [], details: {} });
    while (!document.querySelectorAll(".wnb-row").length) await frame();
    await frame();
    const first = performance.now() - start;
    const frames = await scrolled(document.querySelector(".wnb-scroll"), ({ changed, state }, step) => update({
      name: changed.map((at) => names[at]),
      state: changed.map(() => state),
      since: changed.map(now),
      input: changed.map(() => step),
      spans: changed.map(() => [[now(), state]]),
    }));
    const changed = performance.now();
    update({ name: ["agent-2"], state: ["paused"], since: [now()] });
    while (!document.querySelector("[data-name=agent-2]").textContent.includes("paused")) await frame();
    await frame();
    const rows = document.querySelectorAll(".wnb-row").length;
    return { first, ...frames, rows, change: performance.now() - changed };
  }

  return { plain: await plain(), panel: await panel() };
}
