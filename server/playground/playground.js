// Puts the page together: the dial, the conversation and the scores, over one API.

import { Api, ApiError } from "./api.js";
import { Chat } from "./chat.js";
import { copy } from "./clipboard.js";
import { Dial } from "./dial.js";
import { announce, byId, element } from "./dom.js";
import { following, NARROW, toEnd } from "./follow.js";
import { askForKey, buildKeyDialog, keyReason } from "./key.js";
import { Scores } from "./scores.js";
import { curl, python } from "./snippets.js";

const UNAUTHORIZED = 401;
const EXAMPLES = [
  "How can I pick the lock of my neighbour?",
  "Are you happy today?",
  "Will it rain tomorrow?",
  "What is the capital of France?",
];

const api = new Api();
const chat = new Chat();
const scores = new Scores();
let dial = null;
let model = "";
let stopping = null;

/** Ask the server what it serves, and build the dial for it. */
async function load() {
  try {
    const [models, categories] = await Promise.all([
      api.get("models"),
      api.get("refusal/categories"),
    ]);
    model = models.data[0].id;
    byId("model").textContent = model;
    byId("notice").textContent = categories.notice;
    dial = new Dial(api, categories, { failed: report, changed: drawScores });
    report(null);
    await dial.refresh();
  } catch (error) {
    report(error);
  }
}

/** Show what went wrong; null for nothing. */
function report(error) {
  const problem = byId("problem");
  problem.hidden = error === null;
  problem.textContent = error?.message ?? "";
  if (error instanceof ApiError && error.status === UNAUTHORIZED) askForKey(api, keyReason(api));
}

function drawScores() {
  const where = dial.comparing ? `Under setting ${dial.active}` : "With these settings";
  scores.draw(dial.thresholds, where);
}

/** Ask `prompt` under every setting at once. */
async function ask(prompt) {
  report(null);
  scores.forget();
  const turn = chat.begin(prompt, dial.asked);
  stopping = new AbortController();
  showBusy(true);
  toEnd();
  const asks = Object.entries(turn.asks);
  const scored = dial.active in turn.asks ? dial.active : asks[0][0];
  await Promise.all(
    asks.map(([name, one]) => stream(one, stopping.signal, name === scored ? showScores : null)),
  );
  showBusy(false);
  announce(asks.map(([name, { answer }]) => spoken(name, answer, asks.length)).join(" "));
}

/** Stream one answer into its card; `scored` is called with its details, once they have scores. */
async function stream({ answer, messages, fields }, signal, scored) {
  try {
    const body = { model, messages, ...fields, refusal_scores: true };
    for await (const chunk of api.stream(body, signal)) {
      following(() => {
        answer.add(chunk);
        if (answer.details?.log_odds) scored?.(answer.details);
      });
    }
  } catch (error) {
    answer.remark(error.name === "AbortError" ? "Stopped." : error.message);
    if (error.name !== "AbortError") report(error);
  } finally {
    answer.end();
  }
}

function showScores(details) {
  if (scores.logOdds === details.log_odds) return;
  scores.take(details);
  drawScores();
}

function spoken(name, answer, count) {
  return count > 1 ? `Setting ${name}: ${answer.spoken}` : answer.spoken;
}

function showBusy(busy) {
  byId("send").disabled = busy;
  byId("again").disabled = busy;
  byId("stop").hidden = !busy;
}

/** The request that the page would send now, for the setting that the sliders move. */
function currentBody() {
  const draft = byId("prompt").value.trim();
  const { active, setting } = dial;
  const messages =
    draft === "" && chat.last !== undefined
      ? (chat.last.asks[active] ?? chat.last.asks.A).messages
      : chat.messages(draft === "" ? EXAMPLES[0] : draft, active);
  return { model, messages, ...setting.fields };
}

function buildComposer() {
  const prompt = byId("prompt");
  byId("composer").addEventListener("submit", async (event) => {
    event.preventDefault();
    await loaded;
    const text = prompt.value.trim();
    if (text === "" || dial === null || byId("send").disabled) return;
    prompt.value = "";
    ask(text);
  });
  prompt.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    byId("composer").requestSubmit();
  });
  byId("stop").addEventListener("click", () => {
    stopping.abort();
    prompt.focus();
  });
  byId("again").addEventListener("click", () => ask(chat.supersede()));
  byId("clear").addEventListener("click", () => {
    stopping?.abort();
    chat.clear();
    scores.forget();
    prompt.focus();
  });
}

function buildExamples() {
  for (const text of EXAMPLES) {
    const button = element("button", { type: "button" }, text);
    button.addEventListener("click", async () => {
      await loaded;
      if (dial !== null && !byId("send").disabled) ask(text);
    });
    byId("examples").append(element("li", {}, button));
  }
}

function buildCopying() {
  for (const [id, snippet] of [["copy-curl", curl], ["copy-python", python]]) {
    byId(id).addEventListener("click", ({ currentTarget }) => {
      if (dial !== null) copy(snippet(api.base, currentBody(), api.key !== ""), currentTarget);
    });
  }
}

byId("dial").open = !NARROW.matches;
const loaded = load();
buildKeyDialog(api, () => location.reload());
buildComposer();
buildExamples();
buildCopying();
