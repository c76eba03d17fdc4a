"use strict";

// Tables: the heading of a column is a button that sorts by it; cells without a value stay last.
function sortTable(heading) {
  const table = heading.closest("table");
  const column = [...heading.parentNode.children].indexOf(heading);
  const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  const valueOf = (row) => {
    const cell = row.children[column];
    if (cell.dataset.value === undefined) return cell.textContent;
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  };
  const inOrder = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a === "number" && typeof b === "number") return sign * (a - b);
    return sign * String(a).localeCompare(String(b), "en", { numeric: true });
  };
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [valueOf(row), row]);
  rows.sort(([a], [b]) => inOrder(a, b));
  body.append(...rows.map(([, row]) => row));
  for (const other of heading.parentNode.children) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
}

for (const button of document.querySelectorAll("table.sortable th button")) {
  button.addEventListener("click", () => sortTable(button.parentNode));
}

// Timelines: one chart, whose bars are replaced when another run or round is chosen.
const TYPES = { "<f8": Float64Array, "<f4": Float32Array, "<u4": Uint32Array, "<u2": Uint16Array, "<u1": Uint8Array };
const LANE_NAMES = ["computing", "sent", "received"];
const LANES = [[0.06, 0.5], [0.6, 0.14], [0.78, 0.14]]; // upper edge and height within a row of height 1

async function unpacked(timeline, columns) {
  const packed = Uint8Array.from(atob(timeline.data), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const bytes = await new Response(stream).arrayBuffer();
  const found = {};
  let offset = 0;
  for (const [name, type] of columns) {
    found[name] = new TYPES[type](bytes, offset, timeline.count);
    offset += found[name].byteLength;
  }
  return found;
}

function described(timeline, bars) {
  const digits = Math.max(0, Math.round(-Math.log10(timeline.unit_s)));
  const seconds = (ticks) => (ticks * timeline.unit_s).toFixed(digits);
  return Array.from({ length: timeline.count }, (_, i) => {
    const more = [];
    if (bars.bytes[i]) more.push(`${bars.bytes[i].toLocaleString("en")} B`);
    if (!Number.isNaN(bars.sinr_db[i])) more.push(`SINR ${bars.sinr_db[i].toFixed(1)} dB`);
    if (timeline.outcomes[bars.outcome[i]]) more.push(timeline.outcomes[bars.outcome[i]]);
    return {
      node: timeline.rows[bars.node[i]],
      lane: bars.node[i] === 0 ? "phases" : LANE_NAMES[bars.lane[i]],
      label: timeline.labels[bars.label[i]],
      start: seconds(bars.start[i]),
      end: seconds(bars.end[i]),
      length: seconds(bars.end[i] - bars.start[i]),
      more: more.join(", "),
    };
  });
}

function columnsOf(timeline, bars, words) {
  const place = (i) => (bars.node[i] === 0 ? [0.25, 0.5] : LANES[bars.lane[i]]);
  const column = (name) => words.map((each) => each[name]);
  const numbers = (valueOf) => Float64Array.from({ length: timeline.count }, (_, i) => valueOf(i));
  return {
    y: numbers((i) => 0.5 - bars.node[i] - place(i)[0] - place(i)[1] / 2),
    height: numbers((i) => place(i)[1]),
    left: numbers((i) => bars.start[i] * timeline.unit_s),
    right: numbers((i) => bars.end[i] * timeline.unit_s),
    kind: numbers((i) => bars.kind[i]),
    node: column("node"),
    lane: column("lane"),
    label: column("label"),
    start: column("start"),
    end: column("end"),
    length: column("length"),
    more: column("more"),
  };
}

function fillTable(words) {
  const body = document.querySelector("#timeline-table tbody");
  const rows = words.map((each) => {
    const row = document.createElement("tr");
    for (const name of ["node", "lane", "label", "start", "end", "more"]) {
      const cell = document.createElement("td");
      cell.textContent = each[name];
      if (name === "start" || name === "end") cell.className = "number";
      row.append(cell);
    }
    return row;
  });
  body.replaceChildren(...rows);
}

async function startTimelines() {
  const { kinds, columns, timelines } = JSON.parse(document.getElementById("timelines").textContent);
  const item = JSON.parse(document.getElementById("chart-item").textContent);
  const views = await Bokeh.embed.embed_item(item, "chart");
  const plot = [...views][0].model;
  const source = plot.renderers[0].data_source;
  const details = document.getElementById("timeline-details");
  const [runs, rounds] = ["timeline-run", "timeline-round"].map((id) => document.getElementById(id));
  const isDark = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  let shown = null;

  function legend() {
    const present = new Set(shown.bars.kind);
    const entries = kinds.filter((kind, number) => kind.text && present.has(number)).map((kind) => {
      const entry = document.createElement("li");
      const colour = document.createElement("span");
      colour.style.background = isDark.matches ? kind.dark : kind.light;
      entry.append(colour, kind.text);
      return entry;
    });
    document.getElementById("timeline-legend").replaceChildren(...entries);
  }

  function paint() {
    const style = getComputedStyle(document.documentElement);
    const [text, faint, line] = ["--text", "--faint", "--line"].map((name) => style.getPropertyValue(name).trim());
    for (const axis of [...plot.below, ...plot.left]) {
      axis.setv({ major_label_text_color: text, axis_label_text_color: text, axis_line_color: faint, major_tick_line_color: faint, minor_tick_line_color: null });
    }
    for (const grid of plot.center) if (grid.dimension === 0) grid.grid_line_color = line;
    plot.outline_line_color = line;
    plot.renderers[0].glyph.fill_color.transform.palette = kinds.map((kind) => (isDark.matches ? kind.dark : kind.light));
    if (shown) legend();
  }

  async function show(timeline) {
    chosen = timeline;
    const bars = await unpacked(timeline, columns);
    if (chosen !== timeline) return; // another was chosen while this one was unpacked
    const words = described(timeline, bars);
    const count = timeline.rows.length;
    const ticks = timeline.rows.map((_, row) => -row);
    const axis = plot.left[0];
    plot.height = 90 + count * (count > 30 ? 20 : 30);
    axis.ticker.ticks = ticks;
    axis.major_label_overrides = new Map(timeline.rows.map((name, row) => [-row, name]));
    plot.y_range.setv({ start: 0.5 - count, end: 0.5, reset_start: 0.5 - count, reset_end: 0.5 });
    const end = timeline.duration_s;
    plot.x_range.bounds = null; // the bounds of the round before would cut a longer one
    plot.x_range.setv({ start: 0, end, reset_start: 0, reset_end: end, bounds: [0, end], min_interval: end / 1e6 });
    source.data = columnsOf(timeline, bars, words);
    shown = { timeline, bars, words };
    legend();
    const note = timeline.why ? ` (${timeline.why})` : "";
    document.getElementById("timeline-status").textContent =
      `${timeline.run}, round ${timeline.round}${note}: ${timeline.count.toLocaleString("en")} bars, ${end.toPrecision(4)} s`;
    if (details.open) fillTable(words);
    document.getElementById("chart").dataset.shown = `${timeline.run} ${timeline.round}`;
  }

  function chooseRun() {
    const own = timelines.filter((each) => each.run === runs.value);
    rounds.replaceChildren(...own.map((each) => new Option(`${each.round}${each.why ? ` (${each.why})` : ""}`, each.round)));
    return chooseRound();
  }

  function chooseRound() {
    return show(timelines.find((each) => each.run === runs.value && each.round === Number(rounds.value)));
  }

  function zoom(how) {
    const { start, end } = plot.x_range;
    const [length, middle, all] = [end - start, (start + end) / 2, shown.timeline.duration_s];
    const ways = { in: [middle, length / 2], out: [middle, length * 2], earlier: [middle - length / 4, length], later: [middle + length / 4, length], all: [all / 2, all] };
    const [about, wide] = ways[how];
    const kept = Math.min(wide, all);
    const begin = Math.min(Math.max(about - kept / 2, 0), all - kept);
    plot.x_range.setv({ start: begin, end: begin + kept });
  }

  runs.replaceChildren(...[...new Set(timelines.map((each) => each.run))].map((name) => new Option(name, name)));
  runs.addEventListener("change", chooseRun);
  rounds.addEventListener("change", chooseRound);
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => zoom(button.dataset.zoom));
  }
  details.addEventListener("toggle", () => details.open && fillTable(shown.words));
  isDark.addEventListener("change", paint);
  paint();
  await chooseRun();
}

startTimelines();
