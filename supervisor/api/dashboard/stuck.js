// What is stuck, before all else: each with the reason in words, the line of code, and the buttons that end it.
import { $, clock, h, put, since } from "./dom.js";
import { jobs, place, why } from "./jobs.js";

let shown = "";

/** `look(id)` opens a job, `cancel(id, force)` ends it. */
export function drawStuck(look, cancel) {
  const stuck = [...jobs.values()].filter((job) => job.stuck);
  const key = JSON.stringify(stuck.map((job) => [job.id, job.stuck.rule, Boolean(job.stuck.stack), job.state, Math.floor(since(job.stuck.since) / 1000)]));
  if (key === shown) return;
  shown = key;
  $("stuck").hidden = stuck.length === 0;
  put($("stuck-title"), stuck.length === 1 ? "One job is stuck" : `${stuck.length} jobs are stuck`);
  const list = $("stuck-list");
  const kept = new Map([...list.children].map((item) => [item.dataset.id, item]));
  for (const [id, item] of kept) if (!stuck.some((job) => job.id === id)) item.remove();
  for (const job of stuck) {
    const item = kept.get(job.id) ?? list.appendChild(newItem(job, look, cancel));
    put(item.querySelector(".why"), `${why(job.stuck)} (${job.stuck.rule.replace("_", " ")}, since ${clock(job.stuck.since)})`);
    const where = place(job.stuck.stack);
    item.querySelector(".where").hidden = !where;
    put(item.querySelector(".where"), where ?? "");
  }
}

function newItem(job, look, cancel) {
  const button = (name, action, className = "") => {
    const made = h("button", { type: "button", textContent: name, className, "aria-label": `${name} ${job.task} ${job.id}` });
    made.addEventListener("click", action);
    return made;
  };
  const item = h("li", {}, h("div", {}, h("b", { textContent: job.task }), " ", h("span", { className: "id", textContent: job.id })), h("div", { className: "why" }), h("code", { className: "where" }),
    h("div", { className: "actions" }, button("Look", () => look(job.id)), button("Cancel", () => cancel(job.id, false)), button("Force", () => cancel(job.id, true), "danger")));
  item.dataset.id = job.id;
  return item;
}
