"use strict";

const element = (id) => document.getElementById(id);
const SECONDS = 1;
const SVG = "http://www.w3.org/2000/svg";

/** The coefficients of each entity as they were when they were first shown, and its version when last shown. */
const first = new Map();
const shownVersion = new Map();
let timer = 0;
/** Answers that were asked for before the newest question are not shown. */
let question = 0;

function numbers(text) {
  const parts = text.split(/[\s,;]+/).filter((part) => part !== "");
  const values = parts.map(Number);
  const wrong = parts.find((_, index) => !Number.isFinite(values[index]));
  if (wrong !== undefined) throw new Error(`${wrong} is not a number.`);
  return values;
}

function jobs(text) {
  const lines = text.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  return lines.map((line) => {
    const [id, ...rest] = line.split(/\s+/);
    return { job_id: id, features: numbers(rest.join(" ")) };
  });
}

async function ask(path, body) {
  const headers = {};
  const token = element("token").value;
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${response.status}: ${answer.detail}`);
  return answer;
}

function signed(value) {
  const text = value.toFixed(3);
  return Number(text) === 0 ? "0.000" : value > 0 ? `+${text}` : text.replace("-", "\u2212");
}

/** A bar from the middle; the number stands beside it, so it says nothing to a screen reader. */
function bar(value, most) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 100 6");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const length = most > 0 ? (50 * Math.abs(value)) / most : 0;
  const rect = document.createElementNS(SVG, "rect");
  rect.setAttribute("class", value < 0 ? "against" : "for");
  rect.setAttribute("x", String(value < 0 ? 50 - length : 50));
  rect.setAttribute("width", String(length));
  rect.setAttribute("height", "6");
  const middle = document.createElementNS(SVG, "line");
  for (const [name, place] of [["x1", 50], ["x2", 50], ["y1", 0], ["y2", 6]]) middle.setAttribute(name, String(place));
  svg.append(rect, middle);
  return svg;
}

function cell(text, ...more) {
  const made = document.createElement("td");
  made.append(text, ...more);
  return made;
}

function row(heading, cells) {
  const made = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = heading;
  made.append(head, ...cells);
  return made;
}

function showScores(answer) {
  const sorted = [...answer.scores].sort((one, other) => other.log_odds - one.log_odds);
  const parts = (score) => [score.global_log_odds, score.member_log_odds, score.job_log_odds];
  const most = Math.max(...sorted.flatMap(parts).map(Math.abs));
  element("scores").tBodies[0].replaceChildren(...sorted.map((score) => {
    const job = answer.jobs[score.job_id];
    return row(score.job_id, [
      cell(`${(100 * score.probability).toFixed(1)}%`),
      cell(signed(score.log_odds)),
      ...parts(score).map((part) => cell(signed(part), bar(part, most))),
      cell(String(job.labels)),
    ]);
  }));
  element("problem").textContent = answer.notices.map((notice) => `${notice}.`).join(" ");
}

function showEntities(member, ids) {
  const select = element("entity");
  const values = [["member", member], ...[...new Set(ids)].map((id) => ["job", id])];
  const chosen = select.value;
  const options = values.map(([side, id]) => {
    const option = new Option(`${side} ${id}`, JSON.stringify([side, id]));
    option.selected = option.value === chosen;
    return option;
  });
  const same = options.length === select.options.length
    && options.every((option, index) => option.value === select.options[index].value);
  if (!same) select.replaceChildren(...options);
}

function showCoefficients(answer) {
  const key = JSON.stringify([answer.side, answer.entity_id]);
  const values = answer.coefficients;
  if (!first.has(key) || first.get(key).length !== values.length) first.set(key, values);
  const moved = shownVersion.has(key) && shownVersion.get(key) !== answer.version;
  shownVersion.set(key, answer.version);
  const most = Math.max(0, ...values.map(Math.abs));
  const other = answer.side === "member" ? "job" : "member";
  element("coefficients").tBodies[0].replaceChildren(...values.map((value, index) => {
    const move = value - first.get(key)[index];
    const made = row(index === 0 ? "everything (intercept)" : `feature ${index} of the ${other}`, [
      cell(signed(value), bar(value, most)),
      cell(signed(move)),
    ]);
    if (moved) made.className = "moved";
    return made;
  }));
  element("entity-state").textContent = answer.version === 0
    ? `The ${answer.side} ${answer.entity_id} has not learned yet: the global model decides.`
    : `Version ${answer.version}, from ${answer.labels} labels, the newest of `
      + `${new Date(answer.newest_at).toISOString().slice(0, 19).replace("T", " ")} UTC.`;
  if (moved) element("status").textContent = `The ${answer.side} ${answer.entity_id} moved to version ${answer.version}.`;
}

async function refresh(announce) {
  question += 1;
  const mine = question;
  try {
    const member = element("member").value.trim();
    const body = {
      feature_schema: element("schema").value.trim(),
      member: { member_id: member, features: numbers(element("member-features").value) },
      jobs: jobs(element("jobs").value),
    };
    const answer = await ask("/v1/scores/member", body);
    if (mine !== question) return;
    showScores(answer);
    showEntities(member, body.jobs.map((job) => job.job_id));
    const [side, id] = JSON.parse(element("entity").value);
    const query = new URLSearchParams({ side, entity_id: id });
    const coefficients = await ask(`/v1/coefficients?${query}`);
    if (mine !== question) return;
    if (announce) element("status").textContent = `${answer.scores.length} scored.`;
    showCoefficients(coefficients);
  } catch (error) {
    if (mine === question) element("problem").textContent = error.message;
  }
}

function schedule() {
  clearTimeout(timer);
  if (!element("live").checked) return;
  timer = setTimeout(async () => {
    await refresh(false);
    schedule();
  }, SECONDS * 1000);
}

async function showModel() {
  try {
    const model = await ask("/v1/model");
    if (model.feature_schema === null) {
      element("model").textContent = "No model bundle: the base rate, and what was learned of members and jobs.";
      return;
    }
    element("model").textContent = `Model ${model.model_version}: features ${model.feature_schema}, `
      + `${model.member_features} of the member, ${model.job_features} of the job.`;
    element("schema").value = model.feature_schema;
    element("member-features").value = Array(model.member_features).fill(0).join(", ");
    element("jobs").value = `j-1 ${Array(model.job_features).fill(0).join(", ")}`;
  } catch (error) {
    element("model").textContent = error.message;
  }
}

element("form").addEventListener("submit", (event) => {
  event.preventDefault();
  refresh(true);
});
element("live").addEventListener("change", schedule);
element("entity").addEventListener("change", () => refresh(false));
element("token").addEventListener("change", showModel);
showModel();
