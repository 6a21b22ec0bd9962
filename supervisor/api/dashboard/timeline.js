// Two drawings of one job's time: how it was stopped, against its budget, and its phases.
import { $, h, ms, put, since, svg } from "./dom.js";
import { because, FINAL, verdict } from "./jobs.js";

const MAX_PIDS = 12;

/** Returns whether it goes on and wants to be drawn again. `events` are the job's cancel.* ones. */
export function drawKill(job, events) {
  const record = job.cancellation;
  $("kill").hidden = !record;
  if (!record) return false;
  const running = !FINAL.has(job.state);
  const limit = record.budget_s * 1000;
  const now = running ? since(record.requested_at) : record.gone_ms ?? 0;
  const top = Math.max(limit * 1.15, now * 1.05);
  const x = (value) => `${((100 * Math.min(value, top)) / top).toFixed(2)}%`;
  const late = now > limit || record.within_budget === false;
  put($("verdict"), running ? soFar(record, now) : verdict(job));
  $("verdict").className = running && !late ? "" : late ? "late" : "intime";
  const steps = stepsOf(record, events, running);
  $("kill-line").replaceChildren(
    svg("rect", { class: "track", x: 0, y: 22, width: "100%", height: 12, rx: 3 }),
    svg("rect", { class: late ? "over" : running ? "run" : "done", x: 0, y: 22, width: x(now), height: 12, rx: 3 }),
    svg("line", { class: "limit", x1: x(limit), x2: x(limit), y1: 12, y2: 44 }),
    svg("text", { class: "limit-text", x: x(limit), y: 9, "text-anchor": "middle" }, `${record.budget_s} s`),
    svg("text", { x: 0, y: 54 }, "0"),
    ...together(steps, top).flatMap(({ at, name }) => [
      svg("circle", { class: "mark", cx: x(at), cy: 28, r: name.length > 1 ? 11 : 8 }),
      svg("text", { class: "mark-text", x: x(at), y: 31.5 }, name),
    ]),
  );
  const list = $("kill-steps");
  const key = JSON.stringify(steps);
  if (list.dataset.shown !== key) {
    list.dataset.shown = key;
    list.replaceChildren(...steps.map((step, index) => h("li", {}, h("b", { textContent: index + 1 }), h("time", { textContent: ms(step.ms) }), h("span", { textContent: step.words }))));
  }
  return running;
}

function soFar(record, now) {
  const names = (record.survivors ?? []).map((survivor) => `${survivor.pid} ${survivor.name} (${survivor.status})`);
  return names.length ? `${names.length} would not go: ${names.join(", ")}` : `${because(record)}: ${ms(now)} so far`;
}

function stepsOf(record, events, running) {
  const zero = Date.parse(record.requested_at);
  const steps = events.map((event) => {
    const at = event.ms ?? Math.max(0, Date.parse(event.at) - zero);
    switch (event.type) {
      case "cancel.requested": return { ms: 0, words: `asked: ${because(record)}` };
      case "cancel.acknowledged": return { ms: at, words: "the task knows, and unwinds" };
      case "cancel.signalled": return { ms: at, words: `${event.signal} → ${some(event.pids)}` };
      case "cancel.unproven": return { ms: at, words: `still there: ${event.survivors.map((s) => `${s.pid} ${s.name}`).join(", ")}` };
      default: return null;
    }
  }).filter(Boolean);
  if (!running && record.gone_ms !== null && record.gone_ms !== undefined) steps.push({ ms: record.gone_ms, words: gone(record) });
  return steps.sort((a, b) => a.ms - b.ms);
}

function some(pids) {
  return pids.length > MAX_PIDS ? `${pids.slice(0, MAX_PIDS).join(", ")} and ${pids.length - MAX_PIDS} more` : pids.join(", ");
}

function gone(record) {
  const workspace = `workspace ${record.workspace_removed ? "removed" : "kept"}`;
  if (record.method === "never_started") return "never started: there was nothing to end";
  const all = record.processes_seen === 1 ? "its one process" : `all ${record.processes_seen} processes`;
  return `gone, ${all}; proof: ${record.proof}; ${workspace}`;
}

/** The marks of a kill timeline; steps that would cover each other share one. */
function together(steps, top) {
  const marks = [];
  steps.forEach((step, index) => {
    const last = marks.at(-1);
    if (last && (step.ms - last.at) / top < 0.03) last.to = index + 1;
    else marks.push({ at: step.ms, first: index + 1, to: index + 1 });
  });
  return marks.map(({ at, first, to }) => ({ at, name: first === to ? String(first) : `${first}–${to}` }));
}

/** `phases` are {name, at} in milliseconds, in their order; the last one goes on until `end`. */
export function drawPhases(phases, end) {
  const first = phases[0]?.at;
  const last = Math.max(end, first + 1);
  const spans = phases
    .map((phase, index) => ({ ...phase, for: Math.max(0, (phases[index + 1]?.at ?? last) - phase.at) }))
    .filter((span) => span.for >= 1); // a state that a phase begins in at once is no time spent
  $("phases").replaceChildren(...spans.map((span) => svg("rect", { class: `ph-${span.name}`, x: `${(100 * (span.at - first)) / (last - first)}%`, width: `${Math.max(0.3, (100 * span.for) / (last - first))}%`, y: 4, height: 14 })));
  const sums = new Map();
  for (const span of spans) sums.set(span.name, (sums.get(span.name) ?? 0) + span.for);
  const legend = $("phase-legend");
  while (legend.children.length > sums.size) legend.lastChild.remove();
  [...sums].forEach(([name, time], index) => {
    const item = legend.children[index] ?? legend.appendChild(h("li"));
    item.className = `k-${name}`;
    put(item, `${name} ${ms(time)}`);
  });
}
