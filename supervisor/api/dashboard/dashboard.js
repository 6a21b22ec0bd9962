// The dashboard. What it shows comes from the HTTP API that everybody has; it keeps no state that a reload would lose.
import { $, announce, ask, attempt, clock, copy, put, say } from "./dom.js";
import { Detail } from "./detail.js";
import { apply, FINAL, followed, jobs, load, TYPES } from "./jobs.js";
import { drawPromise, forget } from "./promise.js";
import { drawStuck } from "./stuck.js";
import { drawRows, focusRow, forgetOthers, mark, reveal, selection, siftAll, step, tick, touch, touchAll } from "./table.js";

const RETRY_MS = 1000;
let detail = null; // the open job
let promiseStale = true;
let named = null; // the job that the address has opened, until its row can be seen among all the others
let loaded = false;

// --- what the server says

let feed = null;
let retry = null;
let waiting = null; // events that came while the lists were being read
let reading = null;
let heard = null; // when the server said something last; null: it is there

function take(event) {
  if (!apply(event)) return;
  const job = jobs.get(event.job_id);
  if (event.type.startsWith("cancel.") || FINAL.has(job.state)) promiseStale = true;
  if (event.type.endsWith("stuck")) setTimeout(() => health().catch(() => {}), 500); // the light, which is asked for anyway
  touch(job.id);
  draw();
}

/** Read everything anew; events that come meanwhile are taken afterwards. */
function refresh() {
  reading ??= readAll().finally(() => { reading = null; });
  return reading;
}

async function readAll() {
  waiting = [];
  try {
    await load();
    loaded = true;
    await health();
    forgetOthers();
    touchAll();
    promiseStale = true;
    draw();
  } finally {
    const came = waiting;
    waiting = null;
    came.forEach(take);
  }
}

function connect() {
  feed?.close();
  clearTimeout(retry);
  feed = new EventSource("/events");
  const mine = feed;
  const again = (words) => {
    mine.close();
    if (feed !== mine) return;
    away(words);
    retry = setTimeout(connect, RETRY_MS);
  };
  feed.onopen = async () => {
    try {
      await refresh();
    } catch (error) {
      again(error instanceof TypeError ? "the server does not answer" : error.message);
      return;
    }
    if (feed !== mine) return;
    back();
    detail?.listen();
  };
  // Why an event source was refused is not told: asking shows whether it is the server, or who asks.
  feed.onerror = async () => again(await health().then(() => "its events do not come", () => "the server does not answer"));
  feed.addEventListener("stream.closing", () => again("the server is stopping"));
  feed.addEventListener("stream.gap", () => attempt(refresh));
  for (const type of TYPES) feed.addEventListener(type, ({ data }) => {
    const event = JSON.parse(data);
    if (waiting) waiting.push(event);
    else take(event);
  });
}

/** A page that nobody looks at holds no stream: a browser has six connections to a server for all its tabs, and the tab that
    is to cancel something needs one of them. */
function onVisibility() {
  if (!document.hidden) { connect(); return; }
  feed?.close();
  feed = null;
  clearTimeout(retry);
  detail?.source.close();
}

function link(status, words) {
  $("link").className = `dot ${status}`;
  put($("server-words"), words);
}

/** The server is not there: the page stays, says so, and says of when it is. */
function away(words) {
  heard ??= new Date().toISOString();
  link("down", words);
  $("away").hidden = false;
  document.body.classList.add("old");
  put($("away"), `${words[0].toUpperCase()}${words.slice(1)}. This is how it was at ${clock(heard)}; trying again.`);
}

function back() {
  heard = null;
  $("away").hidden = true;
  document.body.classList.remove("old");
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
    drawRows(detail?.id);
    if (named && !isNarrow() && reveal(named) && loaded) named = null;
    if (promiseStale) { promiseStale = false; drawPromise(); }
    drawStuck(open, cancel);
    detail?.draw();
  });
}

// --- acting

function cancel(id, force) {
  if (FINAL.has(jobs.get(id)?.state)) return undefined;
  return attempt(async () => {
    announce(force ? `killing ${id}` : `cancelling ${id}`);
    await ask("POST", `/jobs/${id}/cancel`, { reason: "dashboard", force });
  });
}

function curlLine(id) {
  return `curl -X POST ${location.origin}/jobs/${id}/cancel -H "Authorization: Bearer $DEADSTOP_TOKEN"`;
}

function demo() {
  return attempt(async () => {
    const job = await ask("POST", "/jobs", { task: "demo", input: { seconds: 30, steps: 60 } });
    if (!jobs.has(job.id)) jobs.set(job.id, { ...job, last_event_id: 0 }); // its events will tell the rest
    touch(job.id);
    open(job.id);
  });
}

// --- one job

/** There is room for the table or for the job, not for both. */
const isNarrow = () => matchMedia("(max-width: 64rem)").matches;

function open(id) {
  if (detail?.id === id) return;
  detail?.close();
  mark(id);
  followed.id = id;
  detail = new Detail(id, draw);
  const panel = $("job");
  panel.hidden = false;
  panel.scrollTop = 0;
  $("columns").classList.add("open");
  history.replaceState(null, "", `#${id}`);
  draw();
  announce(`${jobs.get(id)?.task ?? "job"} ${id} is shown`);
  const narrow = isNarrow();
  if (narrow) $("back").focus({ preventScroll: true }); // its row is out of sight
  if (narrow || panel.getBoundingClientRect().top > innerHeight / 2) panel.scrollIntoView({ block: "start" });
}

function close() {
  if (!detail) return;
  detail.close();
  detail = null;
  followed.id = null;
  $("job").hidden = true;
  $("columns").classList.remove("open");
  history.replaceState(null, "", location.pathname);
  focusRow();
}

/** The job that the address names. */
function openNamed() {
  const id = decodeURIComponent(location.hash.slice(1));
  if (!id || id === detail?.id) return;
  attempt(async () => {
    const job = await ask("GET", `/jobs/${encodeURIComponent(id)}`);
    if (!jobs.has(id)) jobs.set(id, job);
    touch(id);
    named = id;
    open(id);
  });
}

function move(by) {
  const id = step(by);
  if (id && detail) open(id);
}

// --- hands

function onKey(event) {
  const typing = event.target.closest("input, textarea, dialog");
  if (event.key === "Escape") {
    if (event.target === $("filter")) $("filter").blur();
    else if (!typing) close();
    return;
  }
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const target = detail?.id ?? selection();
  const onControl = event.target.closest("button, nav a");
  const actions = {
    j: () => move(1), k: () => move(-1), "/": () => $("filter").focus(), "?": () => $("help").showModal(),
    c: () => target && cancel(target, false), f: () => target && cancel(target, true), s: () => detail?.takeStack(),
    Enter: onControl ? null : () => selection() && open(selection()),
  };
  const action = actions[event.key];
  if (!action) return;
  event.preventDefault();
  action();
}

let scrolledTo = 0;

function onOutputScroll() {
  const box = $("output");
  const end = box.scrollHeight - box.scrollTop - box.clientHeight < 24;
  const up = box.scrollTop < scrolledTo;
  scrolledTo = box.scrollTop;
  // Only a way up is a reader's wish to stay: what is below the end by now may have come since this was asked for.
  if (detail && detail.follow !== end && (end || up)) { detail.follow = end; draw(); }
}

function onRow(event) {
  const row = event.target.closest("[role=row]");
  if (!row || event.ctrlKey || event.metaKey || event.shiftKey) return; // in a tab of its own
  event.preventDefault();
  if (!getSelection().isCollapsed) return; // somebody copies an id
  open(row.dataset.id);
  if (!isNarrow()) focusRow();
}

function start() {
  document.addEventListener("keydown", onKey);
  $("rows").addEventListener("click", onRow);
  $("filter").addEventListener("input", siftAll);
  $("back").addEventListener("click", close);
  $("cancel").addEventListener("click", () => cancel(detail.id, false));
  $("force").addEventListener("click", () => cancel(detail.id, true));
  $("stack-take").addEventListener("click", () => detail.takeStack());
  $("stack-native").addEventListener("click", () => detail.takeStack(true));
  $("curl").addEventListener("click", (event) => copy(curlLine(detail.id), event.currentTarget));
  $("follow").addEventListener("click", () => { detail.follow = true; draw(); });
  $("output").addEventListener("scroll", onOutputScroll);
  $("keys").addEventListener("click", () => $("help").showModal());
  $("demo").addEventListener("click", demo);
  $("said-close").addEventListener("click", () => say(""));
  $("leave").addEventListener("click", () => attempt(async () => { await ask("DELETE", "/session"); location.reload(); }));
  setInterval(() => { if (heard) return; tick(); draw(); }, 1000);
  setInterval(() => { promiseStale = true; if (!heard && !document.hidden) health().catch(() => link("down", "the server does not answer")); }, 10_000);
  addEventListener("resize", () => { promiseStale = true; draw(); });
  addEventListener("hashchange", openNamed);
  document.addEventListener("visibilitychange", onVisibility);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { forget(); promiseStale = true; draw(); });
  connect();
  openNamed();
}

start();
