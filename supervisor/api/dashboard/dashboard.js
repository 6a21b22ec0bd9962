// The dashboard. What it shows comes from the HTTP API that everybody has; it keeps no state that a reload would lose.
import uPlot from "./uPlot.esm.js";

const $ = (id) => document.getElementById(id);
const FINAL = new Set(["succeeded", "failed", "cancelled", "timed_out", "lost"]);
const HOUR_MS = 3_600_000;
const MAX_ROWS = 1000; // older jobs are found through the API
const MAX_LINES = 2000;
const TYPES = [
  "job.queued", "job.starting", "job.running", "job.phase", "job.progress", "job.output", "job.log", "job.resource",
  "job.stuck", "job.unstuck", "cancel.requested", "cancel.acknowledged", "cancel.signalled", "cancel.unproven",
  "cancel.verified", "job.succeeded", "job.failed", "job.cancelled", "job.timed_out", "job.lost",
];
const UNSEEN = new Set(["job.output", "job.log", "job.resource"]); // they change nothing in the table

const jobs = new Map();
const rows = new Map();
const dirty = new Set();
let selected = null; // the id of the row that the keyboard is on
let detail = null; // the open job

// --- small things

function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && !name.startsWith("aria")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function svg(tag, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function say(message) {
  $("said").hidden = !message;
  $("said").textContent = message ?? "";
}

const announce = (words) => { $("announce").textContent = words; };
const ms = (value) => (value === null || value === undefined ? "–" : value < 999.5 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(2)} s`);
const since = (iso) => (iso ? Date.now() - Date.parse(iso) : 0);
const clock = (iso) => (iso ? new Date(iso).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false }) : "–");
const bytes = (n) => (n >= 1 << 30 ? `${(n / (1 << 30)).toFixed(1)} GiB` : n >= 1 << 20 ? `${Math.round(n / (1 << 20))} MiB` : `${Math.round(n / 1024)} KiB`);

function age(milliseconds) {
  const s = Math.max(0, Math.floor(milliseconds / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

async function ask(method, path, body) {
  const answer = await fetch(path, {
    method,
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (answer.status === 401) location.reload(); // the server then shows its sign-in page
  if (answer.status === 204) return null;
  const told = await answer.json();
  if (!answer.ok && !("stuck" in told)) throw new Error(told.detail ?? told.title ?? `the server answered ${answer.status}`);
  return told;
}

async function attempt(action) {
  try {
    await action();
    say("");
  } catch (error) {
    say(error instanceof TypeError ? "The server does not answer." : error.message);
  }
}

// --- the jobs, as the list and then the events tell of them

function apply(event) {
  let job = jobs.get(event.job_id);
  if (!job) {
    if (event.type !== "job.queued") return;
    job = { id: event.job_id, task: event.task, labels: event.labels ?? {}, state: "queued", phase: null, created_at: event.at, cancellation: null, resources: [], stuck: null, last_event_id: 0 };
    jobs.set(job.id, job);
  }
  if (event.id <= job.last_event_id) return;
  job.last_event_id = event.id;
  if (UNSEEN.has(event.type)) return;
  change(job, event);
  if (event.type.startsWith("cancel.") || FINAL.has(job.state)) promiseStale = true;
  dirty.add(job.id);
  draw();
}

function change(job, event) {
  switch (event.type) {
    case "job.starting": job.state = "starting"; break;
    case "job.running": job.state = "running"; job.started_at = event.at; break;
    case "job.phase": job.phase = event.phase; job.detail = event.detail; break;
    case "job.progress": job.progress = event; break;
    case "job.stuck": job.stuck = { rule: event.rule, words: event.words, since: silentSince(event), stack: event.stack }; setTimeout(health, 500); announce(`${job.task} ${job.id} is stuck: ${event.words}`); break;
    case "job.unstuck": job.stuck = null; setTimeout(health, 500); break;
    case "cancel.requested": job.state = "cancelling"; job.cancellation = { reason: event.reason, budget_s: event.budget_s, requested_at: event.at, survivors: [] }; break;
    case "cancel.unproven": job.cancellation.survivors = event.survivors; job.cancellation.within_budget = false; break;
    case "job.succeeded": case "job.failed": case "job.cancelled": case "job.timed_out": case "job.lost":
      job.state = event.type.slice(4);
      job.finished_at = event.at;
      job.stuck = null;
      job.cancellation = event.cancellation ?? job.cancellation;
      job.error = event.error ?? null;
      job.result = event.result ?? null;
      announce(`${job.task} ${job.id}: ${verdict(job) || job.state}`);
  }
}

/** The event is told when the silence has lasted for a while; its words say for how long. */
function silentSince(event) {
  const told = /\b(\d+) s\b/.exec(event.words);
  return new Date(Date.parse(event.at) - (told ? Number(told[1]) * 1000 : 0)).toISOString();
}

/** Why a job is stuck, with the time that it has been by now. */
function why(stuck) {
  return stuck.words.replace(/\b\d+ s\b/, age(since(stuck.since)));
}

async function load() {
  const found = [];
  let cursor = null;
  do {
    const page = await ask("GET", `/jobs?limit=500${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
    found.push(...page.jobs);
    cursor = page.next_cursor;
  } while (cursor && found.length < MAX_ROWS);
  jobs.clear();
  for (const job of found.reverse()) jobs.set(job.id, job); // oldest first, as events add them
  for (const [id, row] of rows) if (!jobs.has(id)) { row.remove(); rows.delete(id); }
  if ([...jobs.values()].some((job) => job.stuck)) await loadStacks();
  for (const id of jobs.keys()) dirty.add(id);
  promiseStale = true;
  draw();
}

async function loadStacks() {
  for (const row of (await ask("GET", "/health/stuck")).stuck) {
    const job = jobs.get(row.id);
    if (job) job.stuck = { ...row };
  }
}

let feed = null;
let retry = null;
let waiting = null; // events that came while the list was being loaded

function connect() {
  feed?.close();
  clearTimeout(retry);
  feed = new EventSource("/events");
  const mine = feed;
  const again = () => { mine.close(); if (feed === mine) retry = setTimeout(connect, 1000); };
  feed.onopen = async () => {
    waiting = [];
    try {
      await load();
      await health();
    } catch {
      again();
      return;
    }
    const came = waiting;
    waiting = null;
    came.forEach(apply);
    if (detail && jobs.has(detail.id)) detail.listen();
  };
  feed.onerror = () => { link("down", "the server does not answer; trying again"); again(); };
  feed.addEventListener("stream.closing", () => { link("down", "the server is stopping"); again(); });
  feed.addEventListener("stream.gap", () => attempt(load));
  for (const type of TYPES) feed.addEventListener(type, ({ data }) => {
    const event = JSON.parse(data);
    if (waiting) waiting.push(event);
    else apply(event);
  });
}

function link(status, words) {
  $("link").className = `dot ${status}`;
  $("server-words").textContent = words;
}

async function health() {
  const told = await ask("GET", "/health");
  const failing = Object.entries(told.checks).filter(([, check]) => !check.ok).map(([name, check]) => `${name}: ${check.detail}`);
  link(told.status, [told.status, `containment ${told.containment.level}`, `version ${told.version}`, ...failing].join(" · "));
}

// --- drawing, once a frame

let drawing = false;
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    drawRows();
    if (promiseStale) drawPromise();
    drawStuck();
    if (detail) detail.draw();
  });
}

function doing(job) {
  if (job.stuck) return why(job.stuck);
  if (job.state === "cancelling") return `${job.cancellation.reason}; ${job.phase ?? "not started"}`;
  if (FINAL.has(job.state)) return verdict(job) || job.error?.message || "";
  const progress = job.progress ? `${job.progress.done}${job.progress.total ? ` of ${job.progress.total}` : ""}` : null;
  return [job.phase, job.detail, progress].filter(Boolean).join(" · ");
}

function verdict(job) {
  const record = job.cancellation;
  if (!record || !FINAL.has(job.state)) return "";
  if (record.method === "never_started") return "cancelled before it started";
  const kept = record.within_budget ? "" : `, past its ${record.budget_s} s`;
  return `${record.reason}: gone after ${ms(record.gone_ms)}${kept}, ${record.method}, proof ${record.proof}`;
}

function took(job) {
  if (FINAL.has(job.state)) return job.started_at ? ms(Date.parse(job.finished_at) - Date.parse(job.started_at)) : "–";
  return age(since(job.started_at ?? job.created_at));
}

function drawRows() {
  const body = $("rows");
  for (const id of dirty) {
    const job = jobs.get(id);
    if (!job) continue;
    let row = rows.get(id);
    if (!row) {
      row = h("tr", { tabIndex: -1, id: `row-${id}` }, h("td"), h("td", { className: "id" }), h("td", { className: "wide" }, h("div", { className: "short" })), h("td", { className: "wide started" }), h("td", { className: "number" }));
      row.dataset.id = id;
      rows.set(id, row);
      body.prepend(row);
    }
    const [state, name, what, started, time] = row.children;
    state.replaceChildren(pill(job));
    name.replaceChildren(id, h("small", { textContent: [job.task, ...Object.entries(job.labels ?? {}).map(([k, v]) => `${k}:${v}`)].join(" · ") }));
    what.firstChild.textContent = doing(job);
    what.title = doing(job);
    started.textContent = clock(job.started_at ?? job.created_at);
    time.textContent = took(job);
    row.hidden = !matches(job);
  }
  const changed = dirty.size > 0;
  dirty.clear();
  while (rows.size > MAX_ROWS) {
    const oldest = body.lastElementChild;
    rows.delete(oldest.dataset.id);
    jobs.delete(oldest.dataset.id);
    oldest.remove();
  }
  if (changed) count();
}

function count() {
  const visible = [...rows.values()].filter((row) => !row.hidden).length;
  $("shown").textContent = visible === rows.size ? `${rows.size}` : `${visible} of ${rows.size}`;
  $("none").hidden = rows.size > 0;
  mark();
}

function pill(job) {
  const name = job.stuck ? "stuck" : job.state;
  return h("span", { className: `pill ${name}`, textContent: name.replace("_", " ") });
}

function matches(job) {
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const text = [job.id, job.task, job.state, job.stuck ? "stuck" : "", ...Object.entries(job.labels ?? {}).map(([k, v]) => `${k}:${v}`)].join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

// --- the promise

let plot = null;
let plotted = "";
let promiseStale = true;

function drawPromise() {
  promiseStale = false;
  const now = Date.now();
  const ends = [...jobs.values()].filter((job) => job.cancellation?.gone_ms != null && job.finished_at && now - Date.parse(job.finished_at) < HOUR_MS);
  const never = [...jobs.values()].filter((job) => job.cancellation?.method === "never_started" && job.finished_at && now - Date.parse(job.finished_at) < HOUR_MS && job.cancellation.gone_ms == null).length;
  const times = ends.map((job) => job.cancellation.gone_ms).sort((a, b) => a - b);
  const at = (share) => (times.length ? times[Math.min(times.length - 1, Math.ceil(share * times.length) - 1)] : null);
  const late = ends.filter((job) => job.cancellation.within_budget === false).length + [...jobs.values()].filter((job) => job.state === "cancelling" && job.cancellation.within_budget === false).length;
  const survivors = [...jobs.values()].filter((job) => job.state === "cancelling").reduce((sum, job) => sum + (job.cancellation.survivors?.length ?? 0), 0);
  $("p-count").textContent = ends.length + never;
  $("p-p50").textContent = ms(at(0.5));
  $("p-p99").textContent = ms(at(0.99));
  $("p-late").textContent = late;
  $("p-survivors").textContent = survivors;
  $("b-late").className = late ? "bad" : "good";
  $("b-survivors").className = survivors ? "bad" : "good";
  drawPlot(ends.sort((a, b) => Date.parse(a.finished_at) - Date.parse(b.finished_at)));
}

function drawPlot(ends) {
  const key = `${ends.length} ${ends.at(-1)?.id} ${Math.floor(Date.now() / 30_000)} ${$("chart").clientWidth}`;
  if (key === plotted) return;
  plotted = key;
  const now = Date.now() / 1000;
  const data = [ends.map((job) => Date.parse(job.finished_at) / 1000), ends.map((job) => job.cancellation.gone_ms / 1000)];
  plot?.destroy();
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
  plot = new uPlot({
    width: Math.max(200, $("chart").clientWidth), height: 112, legend: { show: false }, cursor: { show: false },
    scales: { x: { time: true, range: () => [now - 3600, now + 30] }, y: { range: (_, __, top) => [0, Math.max(2.4, (top ?? 0) * 1.1)] } },
    axes: [{ ...axis, size: 22, values: (_, splits) => splits.map((at) => clock(at * 1000).slice(0, 5)) }, { ...axis, size: 36, splits: (u) => (u.scales.y.max > 6 ? [0, 2, u.scales.y.max] : [0, 1, 2]), values: (_, values) => values.map((v) => `${Math.round(v * 10) / 10} s`) }],
    series: [{}, { paths: () => null, points: { show: true, size: 6, width: 0, fill: colour("--good"), stroke: colour("--good") } }],
    hooks: { draw: [(u) => {
      const y = u.valToPos(2, "y", true);
      u.ctx.save();
      u.ctx.strokeStyle = colour("--bad");
      u.ctx.lineWidth = 1.5 * devicePixelRatio;
      u.ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
      u.ctx.beginPath();
      u.ctx.moveTo(u.bbox.left, y);
      u.ctx.lineTo(u.bbox.left + u.bbox.width, y);
      u.ctx.stroke();
      u.ctx.restore();
    }] },
  }, data, $("chart"));
}

// --- stuck jobs first, in words

let stuckShown = "";

function drawStuck() {
  const stuck = [...jobs.values()].filter((job) => job.stuck);
  const key = JSON.stringify(stuck.map((job) => [job.id, job.stuck.rule, Boolean(job.stuck.stack), job.state, Math.floor(since(job.stuck.since) / 1000)]));
  if (key === stuckShown) return;
  stuckShown = key;
  $("stuck").hidden = stuck.length === 0;
  $("stuck-title").textContent = stuck.length === 1 ? "One job is stuck" : `${stuck.length} jobs are stuck`;
  const list = $("stuck-list");
  const kept = new Map([...list.children].map((item) => [item.dataset.id, item]));
  for (const [id, item] of kept) if (!stuck.some((job) => job.id === id)) item.remove();
  for (const job of stuck) {
    let item = kept.get(job.id);
    if (!item) {
      item = h("li", {}, h("div", {}, h("b", { textContent: job.task }), " ", h("span", { className: "id", textContent: job.id })), h("div", { className: "why" }), h("code", { className: "where" }),
        h("div", { className: "actions" }, button("Look", () => open(job.id)), button("Cancel", () => cancel(job.id, false)), button("Force", () => cancel(job.id, true), "danger")));
      item.dataset.id = job.id;
      list.append(item);
    }
    item.querySelector(".why").textContent = `${why(job.stuck)} (${job.stuck.rule.replace("_", " ")}, since ${clock(job.stuck.since)})`;
    const where = place(job.stuck.stack);
    item.querySelector(".where").hidden = !where;
    item.querySelector(".where").textContent = where ?? "";
  }
}

function button(name, action, className = "") {
  const made = h("button", { type: "button", textContent: name, className });
  made.addEventListener("click", action);
  return made;
}

/** The innermost line of the task's own code in the first thread of a stack, and what it calls. */
function place(stack) {
  const thread = (stack ?? "").split("\n\n")[0].split("\n").map((line) => /File "(.+)", line (\d+) in (.+)/.exec(line)).filter(Boolean);
  const own = thread.find(([, file]) => !/\/lib\/python[\d.]+\/|<frozen|\/runner\/(main|context|loading)\.py/.test(file)) ?? thread[0];
  if (!own) return null;
  const short = ([, file, line, name]) => `${file.split("/").slice(-2).join("/")}:${line} in ${name}`;
  return own === thread[0] ? short(own) : `${short(own)}, which waits in ${short(thread[0])}`;
}

// --- acting

function cancel(id, force) {
  return attempt(async () => {
    announce(force ? `killing ${id}` : `cancelling ${id}`);
    await ask("POST", `/jobs/${id}/cancel`, { reason: "dashboard", force });
  });
}

function curlLine(id) {
  return `curl -X POST ${location.origin}/jobs/${id}/cancel -H "Authorization: Bearer $DEADSTOP_TOKEN"`;
}

async function copy(text, control) {
  try {
    await navigator.clipboard.writeText(text);
    const before = control.textContent;
    control.textContent = "Copied";
    setTimeout(() => { control.textContent = before; }, 1500);
  } catch {
    prompt("Copy this", text); // a page on plain HTTP of another machine has no clipboard
  }
}

// --- one job

class Terminal {
  /** What a terminal would show of a job's output: carriage returns, erasing, colours; other sequences are left out. */
  constructor(box) {
    this.box = box;
    this.lines = [];
    this.touched = new Set();
    this.rest = "";
    this.style = "";
    this.column = 0;
    box.replaceChildren();
    this.line();
  }

  line() {
    const element = h("div");
    this.current = { cells: [], element };
    this.lines.push(this.current);
    this.box.append(element);
    this.column = 0;
    if (this.lines.length > MAX_LINES) this.lines.shift().element.remove();
  }

  feed(text, stream) {
    text = this.rest + text;
    const cut = /\x1b[^A-Za-z~\x07]{0,64}$/.exec(text);
    this.rest = cut ? cut[0] : "";
    if (cut) text = text.slice(0, cut.index);
    for (const [part, parameters, final] of text.matchAll(/\x1b\[([0-9;?]*)([A-Za-z~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()][A-Z0-9]|\x1b.|[\r\n\b\t]|[^\x1b\r\n\b\t]+/gs)) {
      if (final === "m") this.colour(parameters);
      else if (final === "K") this.erase(parameters);
      else if (part === "\n") this.line();
      else if (part === "\r") this.column = 0;
      else if (part === "\b") this.column = Math.max(0, this.column - 1);
      else if (part === "\t") this.write(" ".repeat(8 - (this.column % 8)), stream);
      else if (!part.startsWith("\x1b")) this.write(part.replace(/[\x00-\x1f\x7f]/g, ""), stream);
    }
  }

  write(text, stream) {
    const style = `${this.style}${stream === "stderr" ? " stderr" : ""}`.trim();
    for (const letter of text) {
      if (this.column > 4000) break;
      while (this.current.cells.length < this.column) this.current.cells.push([" ", ""]);
      this.current.cells[this.column++] = [letter, style];
    }
    this.touched.add(this.current);
  }

  erase(parameters) {
    if (parameters === "" || parameters === "0") this.current.cells.length = Math.min(this.current.cells.length, this.column);
    else if (parameters === "2") this.current.cells.length = 0;
    this.touched.add(this.current);
  }

  colour(parameters) {
    for (const code of (parameters || "0").split(";").map(Number)) {
      const words = new Set(this.style.split(" ").filter(Boolean));
      const paint = (name) => { for (const word of [...words]) if (/^c\d$/.test(word)) words.delete(word); if (name) words.add(name); };
      if (code === 0) words.clear();
      else if (code === 1) words.add("bold");
      else if (code === 2) words.add("dim");
      else if (code === 22) { words.delete("bold"); words.delete("dim"); }
      else if (code >= 30 && code <= 37) paint(`c${code - 30}`);
      else if (code >= 90 && code <= 97) paint(`c${code - 90}`);
      else if (code === 39) paint(null);
      else if (code === 38 || code === 48) { this.style = [...words].join(" "); return; } // palettes: keep what there was
      this.style = [...words].join(" ");
    }
  }

  draw() {
    for (const line of this.touched) {
      const runs = [];
      for (const [letter, style] of line.cells) {
        if (runs.length && runs.at(-1)[1] === style) runs.at(-1)[0] += letter;
        else runs.push([letter, style]);
      }
      line.element.replaceChildren(...runs.map(([text, style]) => (style ? h("span", { className: style, textContent: text }) : text)));
    }
    this.touched.clear();
  }
}

class Detail {
  constructor(id) {
    this.id = id;
    this.follow = true;
    this.fresh = 0;
    this.listen();
    this.poll();
    this.poller = setInterval(() => this.poll(), 2000);
  }

  /** The job's own events, from the first; what was shown before is drawn anew. */
  listen() {
    this.source?.close();
    this.terminal = new Terminal($("output"));
    this.steps = [];
    this.phases = [];
    this.source = new EventSource(`/jobs/${this.id}/events`);
    this.source.onerror = () => { if (this.source.readyState === EventSource.CLOSED) this.source.close(); };
    for (const type of TYPES) this.source.addEventListener(type, ({ data }) => { this.take(JSON.parse(data)); draw(); });
  }

  close() {
    this.source.close();
    clearInterval(this.poller);
  }

  take(event) {
    const phase = { "job.queued": "queued", "job.starting": "starting", "job.running": "running", "cancel.requested": "cancelling" }[event.type] ?? (event.type === "job.phase" ? event.phase : null);
    const end = FINAL.has(event.type.slice(4));
    if (phase && !(phase !== "cleanup" && this.phases.at(-1)?.name === "cancelling")) this.phases.push({ name: phase, at: Date.parse(event.at), detail: event.detail });
    if (event.type === "job.output") { this.terminal.feed(event.text, event.stream); this.fresh += 1; }
    if (event.type.startsWith("cancel.")) this.steps.push(event);
    if (event.type === "job.stuck" && event.stack) this.stack(event.stack, event.at);
    if (event.type === "job.resource") this.poll();
    if (end) {
      this.ended = Date.parse(event.at);
      this.source.close();
      this.poll();
    }
  }

  async poll() {
    const job = jobs.get(this.id);
    if (!job || (this.full && FINAL.has(this.full.state))) return;
    try {
      this.full = await ask("GET", `/jobs/${this.id}`);
      this.processes = FINAL.has(this.full.state) ? [] : (await ask("GET", `/jobs/${this.id}/processes`)).processes;
      draw();
    } catch (error) {
      if (!(error instanceof TypeError)) say(error.message); // a server that is away is told of by its light
    }
  }

  takeStack() {
    return attempt(async () => {
      const told = await ask("GET", `/jobs/${this.id}/stack`);
      this.stack(told.stack ?? `No stack: ${told.note}`, told.taken_at);
      $("stack").scrollIntoView({ block: "nearest" });
    });
  }

  stack(text, at) {
    $("stack").hidden = false;
    $("stack-at").textContent = `at ${clock(at)}, innermost call first`;
    const here = place(text)?.match(/^(.+?):(\d+) in/);
    $("stack-text").replaceChildren(...text.trimEnd().split("\n").flatMap((line) => {
      const hit = here && line.includes(`${here[1]}", line ${here[2]} `);
      return [hit ? h("span", { className: "here", textContent: line }) : line, "\n"];
    }));
  }

  draw() {
    const job = jobs.get(this.id);
    if (!job) return;
    const over = FINAL.has(job.state);
    $("job-title").textContent = `${job.task} ${job.id}`;
    $("job-state").replaceChildren(pill(job));
    $("job-words").textContent = [`started ${clock(job.started_at)}`, took(job), over ? job.error?.message : job.stuck ? null : doing(job), this.full?.containment && `containment ${this.full.containment}`].filter(Boolean).join(" · ");
    $("job-stuck").hidden = !job.stuck;
    $("job-stuck").textContent = job.stuck ? [why(job.stuck), place(job.stuck.stack)].filter(Boolean).join(" — ") : "";
    $("cancel").disabled = over || job.state === "cancelling";
    $("force").disabled = over;
    $("stack-take").disabled = over || job.state === "queued";
    $("curl").disabled = over;
    this.drawKill(job);
    this.drawPhases(job);
    this.drawTree();
    this.drawLedger();
    this.drawOutput();
    this.drawOutcome(job);
  }

  drawKill(job) {
    const record = job.cancellation;
    $("kill").hidden = !record;
    if (!record) return;
    const running = !FINAL.has(job.state);
    const limit = record.budget_s * 1000;
    const now = running ? since(record.requested_at) : record.gone_ms ?? 0;
    const top = Math.max(limit * 1.15, now * 1.05);
    const x = (value) => `${((100 * Math.min(value, top)) / top).toFixed(2)}%`;
    const late = now > limit || record.within_budget === false;
    const words = running ? (record.survivors?.length ? `${record.survivors.length} would not go: ${record.survivors.map((s) => `${s.pid} ${s.name} (${s.status})`).join(", ")}` : `${record.reason}: ${ms(now)} so far`) : verdict(job);
    if ($("verdict").textContent !== words) $("verdict").textContent = words;
    $("verdict").className = running ? "" : late ? "late" : "intime";
    const list = this.killSteps(record, running);
    const line = $("kill-line");
    line.replaceChildren(
      svg("rect", { class: "track", x: 0, y: 22, width: "100%", height: 12, rx: 3 }),
      svg("rect", { class: late ? "over" : running ? "run" : "done", x: 0, y: 22, width: x(now), height: 12, rx: 3 }),
      svg("line", { class: "limit", x1: x(limit), x2: x(limit), y1: 12, y2: 44 }),
      svg("text", { class: "limit-text", x: x(limit), y: 9, "text-anchor": "middle" }, `${record.budget_s} s`),
      svg("text", { x: 0, y: 54 }, "0"),
      ...together(list, top).flatMap(({ at, name }) => [
        svg("circle", { class: "mark", cx: x(at), cy: 28, r: name.length > 1 ? 11 : 8 }),
        svg("text", { class: "mark-text", x: x(at), y: 31.5 }, name),
      ]),
    );
    $("kill-steps").replaceChildren(...list.map((step, index) => h("li", {}, h("b", { textContent: index + 1 }), h("time", { textContent: ms(step.ms) }), h("span", { textContent: step.words }))));
    if (running) draw();
  }

  killSteps(record, running) {
    const zero = Date.parse(record.requested_at);
    const steps = this.steps.map((event) => {
      const at = event.ms ?? Math.max(0, Date.parse(event.at) - zero);
      switch (event.type) {
        case "cancel.requested": return { ms: 0, words: `asked: ${event.reason}` };
        case "cancel.acknowledged": return { ms: at, words: "the task knows, and unwinds" };
        case "cancel.signalled": return { ms: at, words: `${event.signal} → ${event.pids.length > 12 ? `${event.pids.slice(0, 12).join(", ")} and ${event.pids.length - 12} more` : event.pids.join(", ")}` };
        case "cancel.unproven": return { ms: at, words: `still there: ${event.survivors.map((s) => `${s.pid} ${s.name}`).join(", ")}` };
        default: return null;
      }
    }).filter(Boolean);
    if (!running && record.gone_ms !== null && record.gone_ms !== undefined) steps.push({ ms: record.gone_ms, words: `gone, all ${record.processes_seen} processes; proof: ${record.proof}; workspace ${record.workspace_removed ? "removed" : "kept"}` });
    return steps.sort((a, b) => a.ms - b.ms);
  }

  drawPhases(job) {
    if (!this.phases.length) { $("phases").replaceChildren(); $("phase-legend").replaceChildren(); return; }
    const first = this.phases[0].at;
    const last = Math.max(this.ended ?? (FINAL.has(job.state) ? this.phases.at(-1).at : Date.now()), first + 1);
    const spans = this.phases.map((phase, index) => ({ ...phase, for: (this.phases[index + 1]?.at ?? last) - phase.at }));
    $("phases").replaceChildren(...spans.map((span) => svg("rect", { class: `ph-${span.name}`, x: `${(100 * (span.at - first)) / (last - first)}%`, width: `${Math.max(0.3, (100 * span.for) / (last - first))}%`, y: 4, height: 14 })));
    const sums = new Map();
    for (const span of spans) sums.set(span.name, (sums.get(span.name) ?? 0) + span.for);
    $("phase-legend").replaceChildren(...[...sums].map(([name, time]) => h("li", { className: `k-${name}`, textContent: `${name} ${ms(time)}` })));
  }

  drawTree() {
    const list = this.processes ?? [];
    $("tree").hidden = list.length === 0;
    if (!list.length) return;
    const depth = new Map();
    for (const row of list) depth.set(row.pid, (depth.get(row.ppid) ?? -1) + 1);
    const home = list[0].session;
    const left = list.filter((row) => row.session !== home).length;
    $("tree-sum").textContent = [`${list.length}, ${bytes(list.reduce((sum, row) => sum + row.rss_bytes, 0))}`, left ? `⇱ ${left} in a session of their own` : null].filter(Boolean).join(" · ");
    $("processes").replaceChildren(...list.map((row) => h("tr", {},
      h("td", { className: "cmd", title: row.cmdline.join(" ") }, row.session === home ? null : h("span", { className: "left", textContent: "⇱ ", title: "In a session of its own: a kill of the job's process group would miss it" }), `${"  ".repeat(depth.get(row.pid))}${row.pid} ${depth.get(row.pid) === 0 && row.session === home ? "the job's Python" : row.cmdline.join(" ") || row.name}`),
      h("td", { className: /stopped|zombie|disk/.test(row.status) ? "doing stopped" : "doing", textContent: row.wait_channel && row.status !== "running" ? `${row.status}: ${row.wait_channel}` : row.status }),
      h("td", { className: "number", textContent: `${Math.round(row.cpu_percent)} %` }), h("td", { className: "number", textContent: bytes(row.rss_bytes) }))));
  }

  drawLedger() {
    const list = this.full?.resources ?? [];
    $("ledger").hidden = list.length === 0;
    $("resources").replaceChildren(...list.map((entry) => h("li", { className: entry.action === "acquired" ? "" : "gone", textContent: `${entry.kind} ${entry.name} — ${entry.action} ${clock(entry.removed_at ?? entry.released_at ?? entry.acquired_at)}` })));
  }

  drawOutput() {
    const box = $("output");
    this.terminal.draw();
    if (this.follow) { box.scrollTop = box.scrollHeight; this.fresh = 0; }
    $("follow").hidden = this.follow;
    $("follow").textContent = this.fresh ? "paused, there is more · go to the end" : "paused · go to the end";
  }

  drawOutcome(job) {
    const text = job.error ? job.error.traceback ?? job.error.message : job.state === "succeeded" ? JSON.stringify(job.result, null, 1) : null;
    $("outcome").hidden = text === null || text === undefined;
    $("outcome-title").textContent = job.error ? `Error: ${job.error.kind}` : "Result";
    if ($("outcome-text").textContent !== text) $("outcome-text").textContent = text ?? "";
  }
}

/** The marks of a kill timeline; steps that would cover each other share one. */
function together(steps, top) {
  const marks = [];
  steps.forEach((step, index) => {
    const last = marks.at(-1);
    if (last && (step.ms - last.from) / top < 0.03) last.to = index + 1;
    else marks.push({ from: step.ms, at: step.ms, first: index + 1, to: index + 1 });
  });
  return marks.map(({ at, first, to }) => ({ at, name: first === to ? String(first) : `${first}–${to}` }));
}

function open(id) {
  if (detail?.id === id) return;
  detail?.close();
  select(id);
  $("stack").hidden = true;
  detail = new Detail(id);
  $("job").hidden = false;
  $("job").scrollTop = 0;
  $("columns").classList.add("open");
  history.replaceState(null, "", `#${id}`);
  draw();
  if (matchMedia("(max-width: 64rem)").matches) $("job").scrollIntoView({ block: "start" });
}

function close() {
  if (!detail) return;
  detail.close();
  detail = null;
  $("job").hidden = true;
  $("columns").classList.remove("open");
  history.replaceState(null, "", location.pathname);
  rows.get(selected)?.focus();
}

function select(id) {
  selected = id;
  mark();
}

function mark() {
  for (const [id, row] of rows) {
    const mine = id === selected;
    if ((row.getAttribute("aria-selected") === "true") !== mine) row.setAttribute("aria-selected", String(mine));
    row.tabIndex = mine || selected === null ? 0 : -1;
  }
}

function step(by) {
  const visible = [...$("rows").children].filter((row) => !row.hidden);
  if (!visible.length) return;
  const index = visible.findIndex((row) => row.dataset.id === selected);
  const next = visible[index < 0 ? 0 : Math.min(visible.length - 1, Math.max(0, index + by))];
  select(next.dataset.id);
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
  if (detail) open(next.dataset.id);
}

// --- hands

function onKey(event) {
  const typing = event.target.closest("input, textarea, dialog");
  if (event.key === "Escape") { if (event.target === $("filter")) { $("filter").blur(); } else if (!typing) close(); return; }
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const target = detail?.id ?? selected;
  const actions = {
    j: () => step(1), k: () => step(-1), "/": () => $("filter").focus(), "?": () => $("help").showModal(),
    c: () => target && cancel(target, false), f: () => target && cancel(target, true), s: () => detail?.takeStack(),
    Enter: () => event.target.closest("button, a") ? null : selected && open(selected),
  };
  const action = actions[event.key];
  if (!action || (event.key === "Enter" && event.target.closest("button, a"))) return;
  event.preventDefault();
  action();
}

let scrolledTo = 0;

function start() {
  document.addEventListener("keydown", onKey);
  $("rows").addEventListener("click", (event) => { const row = event.target.closest("tr"); if (row) open(row.dataset.id); });
  $("filter").addEventListener("input", () => { for (const [id, row] of rows) row.hidden = !matches(jobs.get(id)); count(); });
  $("back").addEventListener("click", close);
  $("cancel").addEventListener("click", () => cancel(detail.id, false));
  $("force").addEventListener("click", () => cancel(detail.id, true));
  $("stack-take").addEventListener("click", () => detail.takeStack());
  $("curl").addEventListener("click", (event) => copy(curlLine(detail.id), event.currentTarget));
  $("follow").addEventListener("click", () => { detail.follow = true; draw(); });
  $("output").addEventListener("scroll", () => {
    const box = $("output");
    const end = box.scrollHeight - box.scrollTop - box.clientHeight < 24;
    const up = box.scrollTop < scrolledTo;
    scrolledTo = box.scrollTop;
    // Only a way up is a reader's wish to stay: what is below the end by now may have come since this was asked for.
    if (detail && detail.follow !== end && (end || up)) { detail.follow = end; draw(); }
  });
  $("keys").addEventListener("click", () => $("help").showModal());
  $("demo").addEventListener("click", () => attempt(async () => { const job = await ask("POST", "/jobs", { task: "demo", input: { seconds: 30, steps: 60 } }); apply({ id: 0.5, job_id: job.id, type: "job.queued", task: job.task, labels: job.labels, at: job.created_at }); open(job.id); }));
  $("leave").addEventListener("click", () => attempt(async () => { await ask("DELETE", "/session"); location.reload(); }));
  setInterval(() => { for (const job of jobs.values()) if (!FINAL.has(job.state)) dirty.add(job.id); draw(); }, 1000);
  setInterval(() => { promiseStale = true; if (feed?.readyState === EventSource.OPEN) health().catch(() => link("down", "the server does not answer")); }, 10_000);
  addEventListener("resize", () => { promiseStale = true; draw(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { plotted = ""; promiseStale = true; draw(); });
  connect();
  const wanted = location.hash.slice(1);
  if (wanted) attempt(async () => { const job = await ask("GET", `/jobs/${encodeURIComponent(wanted)}`); if (!jobs.has(job.id)) jobs.set(job.id, job); open(job.id); });
}

start();
