// The table of jobs: a row for each, one of which the keyboard is on, and the filter.
import { $, clock, h, put } from "./dom.js";
import { doing, FINAL, jobs, labels, MAX_ROWS, took } from "./jobs.js";

const rows = new Map();
const dirty = new Set();
let selected = null; // the id of the row that the keyboard is on
let reachable = null; // the one row that Tab stops at

// Time goes on in rows that can be seen; the others are drawn anew when they come into sight.
const seen = new Set();
const watcher = new IntersectionObserver((changes) => {
  for (const { target, isIntersecting } of changes) {
    if (isIntersecting) seen.add(target.dataset.id);
    else seen.delete(target.dataset.id);
    if (isIntersecting) drawRow(jobs.get(target.dataset.id), target);
  }
}, { rootMargin: "200px" });

/** A second has passed. */
export function tick() {
  for (const id of seen) if (!FINAL.has(jobs.get(id)?.state)) dirty.add(id);
}

/** This job's row is to be drawn anew, at the next `drawRows`. */
export const touch = (id) => dirty.add(id);
export const touchAll = () => { for (const id of jobs.keys()) dirty.add(id); };
export const selection = () => selected;
export const focusRow = () => rows.get(selected)?.querySelector("a").focus({ preventScroll: true });

/** `keep` is the open job, which stays. */
export function drawRows(keep) {
  let stale = rows.size === 0;
  for (const id of dirty) {
    const job = jobs.get(id);
    if (!job) continue;
    const row = rows.get(id) ?? newRow(job);
    drawRow(job, row);
    stale = sift(row, job) || stale;
  }
  dirty.clear();
  if (rows.size > MAX_ROWS) trim(keep);
  if (stale) count();
}

/** The filter has changed. */
export function siftAll() {
  for (const [id, row] of rows) sift(row, jobs.get(id));
  count();
}

/** Show the row or hide it. Whether that is another number of rows than before. */
function sift(row, job) {
  const before = row.dataset.shown;
  row.hidden = !matches(job);
  row.dataset.shown = String(!row.hidden);
  return row.dataset.shown !== before;
}

function drawRow(job, row) {
  if (!job) return;
  const [state, , what, started, time] = row.children;
  const name = job.stuck ? "stuck" : job.state;
  const pill = state.firstChild;
  if (pill.dataset.state !== name) {
    pill.dataset.state = name;
    pill.className = `pill ${name}`;
    put(pill, name.replace("_", " "));
  }
  const words = doing(job);
  if (what.firstChild.textContent !== words) what.firstChild.textContent = what.title = words;
  put(started, clock(job.started_at ?? job.created_at));
  put(time, took(job));
}

function newRow(job) {
  const link = h("a", { href: `#${job.id}`, textContent: job.id, tabIndex: -1 });
  const cell = (className, ...children) => h("div", { role: "cell", className }, ...children);
  const row = h("div", { role: "row", id: `row-${job.id}` },
    cell("state", h("span", { className: "pill" })), cell("id", link, h("small", { textContent: [job.task, ...labels(job)].join(" · ") })),
    cell("wide", h("div", { className: "short" })), cell("wide started"), cell("number"));
  row.dataset.id = job.id;
  rows.set(job.id, row);
  $("rows").insertBefore(row, firstNotNewer(job));
  watcher.observe(row);
  return row;
}

/** The row that a job's own stands above: the newest job is first. Most that come are the newest. */
function firstNotNewer(job) {
  let row = $("rows").firstElementChild;
  while (row && Date.parse(jobs.get(row.dataset.id)?.created_at) > Date.parse(job.created_at)) row = row.nextElementSibling;
  return row;
}

/** Scroll to the job's row. False: it has none yet. */
export function reveal(id) {
  rows.get(id)?.scrollIntoView({ block: "nearest" });
  return rows.has(id);
}

/** What the lists no longer name leaves. */
export function forgetOthers() {
  for (const [id, row] of rows) if (!jobs.has(id)) leave(id, row);
  count();
}

function leave(id, row) {
  watcher.unobserve(row);
  seen.delete(id);
  rows.delete(id);
  row.remove();
}

/** The oldest finished jobs leave. What is not finished stays, however old: it may hang. */
function trim(keep) {
  let row = $("rows").lastElementChild;
  while (rows.size > MAX_ROWS && row) {
    const { id } = row.dataset;
    const before = row.previousElementSibling;
    if (FINAL.has(jobs.get(id)?.state) && id !== keep) {
      jobs.delete(id);
      leave(id, row);
    }
    row = before;
  }
}

function count() {
  const visible = [...rows.values()].filter((row) => !row.hidden).length;
  put($("shown"), visible === rows.size ? `${rows.size || ""}` : `${visible} of ${rows.size}`);
  $("none").hidden = rows.size > 0;
  $("no-match").hidden = rows.size === 0 || visible > 0;
  mark(selected);
}

function matches(job) {
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return true;
  const text = [job.id, job.task, job.state, job.stuck ? "stuck" : "", ...labels(job)].join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

// --- the keyboard

export function mark(id) {
  if (id !== selected) {
    for (const [each, on] of [[selected, false], [id, true]]) {
      const row = rows.get(each);
      row?.classList.toggle("selected", on);
      if (on) row?.querySelector("a").setAttribute("aria-current", "true");
      else row?.querySelector("a").removeAttribute("aria-current");
    }
    selected = id;
  }
  const chosen = rows.get(selected);
  const row = chosen && !chosen.hidden ? chosen : [...$("rows").children].find((each) => !each.hidden);
  if (row === reachable) return;
  if (reachable) reachable.querySelector("a").tabIndex = -1;
  if (row) row.querySelector("a").tabIndex = 0;
  reachable = row;
}

/** The job above or below the one that the keyboard is on; null when there is none. */
export function step(by) {
  const visible = [...$("rows").children].filter((row) => !row.hidden);
  if (!visible.length) return null;
  const index = visible.findIndex((row) => row.dataset.id === selected);
  const next = visible[index < 0 ? 0 : Math.min(visible.length - 1, Math.max(0, index + by))];
  mark(next.dataset.id);
  next.querySelector("a").focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
  return next.dataset.id;
}
