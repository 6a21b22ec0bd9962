// The jobs as the page knows them: first from the lists, then from the events. And what is said of one, in words.
import { age, announce, ask, ms, since } from "./dom.js";

export const FINAL = new Set(["succeeded", "failed", "cancelled", "timed_out", "lost"]);
export const TYPES = [
  "job.queued", "job.starting", "job.running", "job.phase", "job.progress", "job.output", "job.log", "job.resource",
  "job.stuck", "job.unstuck", "cancel.requested", "cancel.acknowledged", "cancel.signalled", "cancel.unproven",
  "cancel.verified", "job.succeeded", "job.failed", "job.cancelled", "job.timed_out", "job.lost",
];
export const MAX_ROWS = 1000; // finished jobs; older ones are found through the API
const HOUR_MS = 3_600_000;
const MAX_ACTIVE = 5000;
const MAX_STOPS = 5000;
const UNSEEN = new Set(["job.output", "job.log", "job.resource"]); // they change nothing in the table

export const jobs = new Map(); // oldest first
const stops = new Map(); // what was stopped within the last hour, also of jobs that the table has no room for
export const followed = { id: null }; // the job whose end is read out: the open one

// --- from the lists

async function pages(query, most, enough = () => false) {
  const found = [];
  let cursor = null;
  do {
    const page = await ask("GET", `/jobs?limit=500${query}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
    found.push(...page.jobs);
    cursor = page.next_cursor;
  } while (cursor && found.length < most && !enough(found.at(-1)));
  return found;
}

/** Everything anew: the unfinished, however old; the newest; and what was stopped lately. */
export async function load() {
  const stopped = await pages("&state=cancelled,timed_out", MAX_STOPS, (job) => since(job.created_at) > HOUR_MS);
  const newest = await pages("", MAX_ROWS);
  const active = await pages("&state=queued,starting,running,cancelling", MAX_ACTIVE);
  const found = new Map();
  for (const job of [...newest, ...active]) {
    if (!(found.get(job.id)?.last_event_id > job.last_event_id)) found.set(job.id, job);
  }
  const open = jobs.get(followed.id); // it may be older than what the lists name
  if (open && !found.has(open.id)) found.set(open.id, open);
  jobs.clear();
  for (const job of [...found.values()].sort((a, b) => Date.parse(a.created_at) - Date.parse(b.created_at))) jobs.set(job.id, job);
  stops.clear();
  for (const job of [...stopped, ...newest]) remember(job);
  if ([...jobs.values()].some((job) => job.stuck)) await loadStacks();
}

async function loadStacks() {
  for (const row of (await ask("GET", "/health/stuck")).stuck) {
    const job = jobs.get(row.id);
    if (job) job.stuck = { ...row };
  }
}

// --- from the events

/** Whether the event changes what the table or the promise show. */
export function apply(event) {
  let job = jobs.get(event.job_id);
  if (!job) {
    if (event.type !== "job.queued") return false;
    job = { id: event.job_id, task: event.task, labels: event.labels ?? {}, state: "queued", phase: null, created_at: event.at, cancellation: null, resources: [], stuck: null, last_event_id: 0 };
    jobs.set(job.id, job);
  }
  if (event.id <= job.last_event_id) return false;
  job.last_event_id = event.id;
  if (UNSEEN.has(event.type)) return false;
  change(job, event);
  return true;
}

function change(job, event) {
  switch (event.type) {
    case "job.starting": job.state = "starting"; break;
    case "job.running": job.state = "running"; job.started_at = event.at; job.phase = job.detail = null; break;
    case "job.phase": job.phase = event.phase; job.detail = event.detail; break;
    case "job.progress": job.progress = event; break;
    case "job.stuck":
      job.stuck = { rule: event.rule, words: event.words, since: silentSince(event), stack: event.stack };
      announce(`${job.task} ${job.id} is stuck: ${event.words}`);
      break;
    case "job.unstuck": job.stuck = null; break;
    case "cancel.requested":
      job.state = "cancelling";
      job.cancellation = { reason: event.reason, budget_s: event.budget_s, requested_at: event.at, survivors: [] };
      break;
    case "cancel.unproven":
      job.cancellation.survivors = event.survivors;
      job.cancellation.within_budget = false;
      break;
    case "job.succeeded": case "job.failed": case "job.cancelled": case "job.timed_out": case "job.lost":
      job.state = event.type.slice(4);
      job.finished_at = event.at;
      job.stuck = null;
      job.cancellation = event.cancellation ?? job.cancellation;
      job.error = event.error ?? null;
      job.result = event.result ?? null;
      remember(job);
      if (job.id === followed.id) announce(`${job.task} ${job.id}: ${verdict(job) || job.state}`);
  }
}

/** The event is told when the silence has lasted for a while; its words say for how long. */
function silentSince(event) {
  const told = /\b(\d+) s\b/.exec(event.words);
  return new Date(Date.parse(event.at) - (told ? Number(told[1]) * 1000 : 0)).toISOString();
}

// --- the promise

function remember(job) {
  const record = job.cancellation;
  if (!record || !FINAL.has(job.state) || since(job.finished_at) > HOUR_MS) return;
  stops.set(job.id, { at: Date.parse(job.finished_at), never: record.method === "never_started", gone_ms: record.gone_ms, late: record.within_budget === false });
}

/** How it was kept in the last hour. Times and points are of jobs that had been started. */
export function promise() {
  for (const [id, stop] of stops) if (Date.now() - stop.at > HOUR_MS) stops.delete(id);
  const ended = [...stops.values()];
  const points = ended.filter((stop) => !stop.never && stop.gone_ms !== null).sort((a, b) => a.at - b.at);
  const times = points.map((stop) => stop.gone_ms).sort((a, b) => a - b);
  const share = (part) => (times.length ? times[Math.min(times.length - 1, Math.ceil(part * times.length) - 1)] : null);
  const cancelling = [...jobs.values()].filter((job) => job.state === "cancelling");
  return {
    points,
    count: ended.length,
    p50: share(0.5),
    p99: share(0.99),
    late: ended.filter((stop) => stop.late).length + cancelling.filter((job) => job.cancellation.within_budget === false).length,
    survivors: cancelling.reduce((sum, job) => sum + (job.cancellation.survivors?.length ?? 0), 0),
  };
}

// --- in words

/** Why a job is stuck, with the time that it has been by now. */
export function why(stuck) {
  return stuck.words.replace(/\b\d+ s\b/, age(since(stuck.since)));
}

/** The innermost line of the task's own code in the first thread of a stack, and what it calls. */
export function place(stack) {
  const thread = (stack ?? "").split("\n\n")[0].split("\n").map((line) => /File "(.+)", line (\d+) in (.+)/.exec(line)).filter(Boolean);
  const own = thread.find(([, file]) => !/\/lib\/python[\d.]+\/|<frozen|\/runner\/(main|context|loading)\.py/.test(file)) ?? thread[0];
  if (!own) return null;
  const short = ([, file, line, name]) => `${file.split("/").slice(-2).join("/")}:${line} in ${name}`;
  return own === thread[0] ? short(own) : `${short(own)}, which waits in ${short(thread[0])}`;
}

export function doing(job) {
  if (job.stuck) return why(job.stuck);
  if (job.state === "cancelling") return `${because(job.cancellation)}; ${job.phase ?? "not started"}`;
  if (FINAL.has(job.state)) return verdict(job) || job.error?.message || "";
  const progress = job.progress ? `${job.progress.done}${job.progress.total ? ` of ${job.progress.total}` : ""}` : null;
  return [job.phase, job.detail, progress].filter(Boolean).join(" · ");
}

/** Who wanted the end. The reason, and what was given as a detail if that is short. */
export function because(record) {
  const detail = record.detail && record.detail.length <= 40 ? ` (${record.detail})` : "";
  return `${record.reason.replace("_", " ")}${detail}`;
}

export function verdict(job) {
  const record = job.cancellation;
  if (!record || !FINAL.has(job.state)) return "";
  if (record.method === "never_started") return `${because(record)}: it was never started`;
  const kept = record.within_budget ? "" : `, past its ${record.budget_s} s`;
  return `${because(record)}: gone after ${ms(record.gone_ms)}${kept}, ${record.method}, proof ${record.proof}`;
}

export function took(job) {
  if (FINAL.has(job.state)) {
    const lasted = Date.parse(job.finished_at) - Date.parse(job.started_at);
    return !job.started_at ? "–" : lasted < 60_000 ? ms(lasted) : age(lasted);
  }
  return age(since(job.started_at ?? job.created_at));
}

export function labels(job) {
  return Object.entries(job.labels ?? {}).map(([key, value]) => `${key}:${value}`);
}
