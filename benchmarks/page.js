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

  /** The timeline: each agent has done a hundred runs in an hour, a third of them with tools and waits. */
  async function picture() {
    const RUNS = 100;
    const outcomes = ["succeeded", "succeeded", "failed", "cancelled"];
    const runOf = (agent, number) => [
      number, now() - 3600 + number * 36 + (agent % 17), number % 7 ? 20 + (agent % 5) : 0.5, outcomes[number % 4], null,
      number % 3 ? [] : [6, 0, 5, 1, 4, 2, 5, 0], number % 10 || !agent ? [] : [`agent-${agent - 1}#${number}`],
      "Count the rows of the table once more, and", 1200, 34, 0.0041,
    ];
    let number = 1;
    const model = { on: (_, call) => { model.receive = call; }, off() {} };
    const answer = (content) => model.receive({
      kind: "update", number: ++number, now: now(), rows: {}, details: {}, ...content,
    });
    model.send = ({ do: what, view, whole, since, step }) => {
      if (what !== "lanes" || !whole) return;
      const found = whole.split(" ").map((name) => {
        const agent = Number(name.slice(6));
        return [view, name, since, step / 1000, [...Array(RUNS).keys()].map((one) => runOf(agent, one + 1))];
      });
      setTimeout(() => answer({ lanes: found }));
    };
    const all = (value) => names.map(() => value);
    const table = {
      name: names, state: all("running"), since: all(now() - 9), now: all(""), queued: all(0), queue: all([]),
      runs: all(RUNS), input: all(120), output: all(45), cost: all(0.01), unpriced: all(0), uncounted: all(0),
      at_work: all(0), model: all("offline/echo"), error: all(""), title: all(""), about: all("Counts"), icon: all(""),
      color: all("teal"), memory: all(0), spans: all([]),
    };
    const gone = { runs: 0, input: 0, output: 0, cost: 0, unpriced: 0, uncounted: 0, at_work: 0 };
    here.replaceChildren();
    widget.render({ model, el: here });
    model.receive({ kind: "all", number, now: now(), rows: { added: names, tables: [table] }, gone, team: [], details: {} });
    const start = performance.now();
    const press = (text) => [...here.querySelectorAll("button")].find((one) => one.ariaLabel === text || one.textContent === text);
    press("Timeline").click();
    const canvas = here.querySelector("canvas");
    const isDrawn = () => canvas.width && canvas.getContext("2d").getImageData(0, 0, canvas.width, 40).data.some((one) => one > 200);
    while (!isDrawn()) await frame();
    const first = performance.now() - start;
    here.querySelector("[aria-label='Time shown']").value = "3600";
    here.querySelector("[aria-label='Time shown']").dispatchEvent(new Event("change"));
    const scroll = here.querySelector(".wnb-lanes");
    const change = ({ changed, state }) => answer({
      rows: { tables: [{ name: changed.map((at) => names[at]), state: changed.map(() => state), since: changed.map(now) }] },
      bars: Object.fromEntries(changed.map((at) => [names[at], [runOf(at, 100)]])),
    });
    const frames = await scrolled(scroll, change);
    let zoom = 0, longest = frames.longest, last = await frame();
    for (const [step, text] of [...Array(120).keys()].map((at) => [at, ["Zoom in", "Earlier", "Zoom out", "Later"][at % 4]])) {
      if (step % 3 === 0) press(text).click();
      const next = await frame();
      longest = Math.max(longest, next - last);
      zoom += next - last > LONG_MS ? 1 : 0;
      last = next;
    }
    return { first, long: frames.long, zoom, longest, runs: RUNS * agents };
  }

  return { plain: await plain(), panel: await panel(), picture: await picture() };
}
