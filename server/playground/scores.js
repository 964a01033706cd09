// The scores of the last prompt against the thresholds that the sliders stand for now.

import { byId, element, place } from "./dom.js";
import { logOdds, percent, probability } from "./numbers.js";

const EDGE = Math.log(1e5);
const GRID = [0.0001, 0.01, 0.5, 0.99, 0.9999];
const LABELLED = [0.01, 0.5, 0.99];

/** The category that refuses: the largest score of those that reach their threshold. */
function decided(scores, thresholds) {
  let winner = null;
  for (const [name, score] of Object.entries(scores)) {
    const reached = score >= logOdds(thresholds[name]);
    if (reached && (winner === null || score > scores[winner])) winner = name;
  }
  return winner;
}

export class Scores {
  constructor() {
    byId("score-axis").append(...LABELLED.map(tick));
  }

  /** Log-odds by category, and the same as probabilities; of the last prompt. */
  take({ log_odds, scores }) {
    this.logOdds = log_odds;
    this.probabilities = scores;
  }

  forget() {
    this.logOdds = undefined;
    byId("scores").hidden = true;
  }

  /** Draw them against `thresholds`, probabilities by category, of the setting that `where` names. */
  draw(thresholds, where) {
    if (this.logOdds === undefined) return;
    byId("scores").hidden = false;
    const winner = decided(this.logOdds, thresholds);
    this.#say(winner, where);
    const rows = Object.keys(this.logOdds).map((name) => this.#row(name, thresholds[name]));
    byId("score-rows").replaceChildren(...rows);
  }

  #say(winner, where) {
    const text =
      winner === null
        ? `${where} it is answered: no score reaches its threshold.`
        : `${where} it is refused as ${winner}.`;
    const verdict = byId("verdict");
    // A status that is written anew is read out anew, even where it says the same.
    if (verdict.textContent !== text) verdict.textContent = text;
    verdict.classList.toggle("refused", winner !== null);
  }

  #row(name, threshold) {
    const score = this.logOdds[name];
    const reached = score >= logOdds(threshold);
    const bar = element("div", { class: "bar" }, ...GRID.map(gridLine));
    bar.append(element("span", { class: "fill" }), element("span", { class: "threshold" }));
    place(bar, { score: position(score), threshold: position(logOdds(threshold)) });
    return element(
      "tr",
      { class: reached ? "reached" : null },
      element("th", { scope: "row" }, name),
      element("td", { class: "axis", "aria-hidden": "true" }, bar),
      element("td", {}, probability(this.probabilities[name]), reached ? reachedText() : ""),
      element("td", {}, thresholdText(threshold)),
    );
  }
}

function gridLine(share) {
  const line = element("span", { class: "grid" });
  place(line, { at: position(logOdds(share)) });
  return line;
}

function tick(share) {
  const label = element("span", {}, percent(share));
  place(label, { at: position(logOdds(share)) });
  return label;
}

/** Where log-odds stand on the axis, from 0 to 1. */
function position(score) {
  return Math.min(1, Math.max(0, (score + EDGE) / (2 * EDGE)));
}

function reachedText() {
  return element("span", { class: "visually-hidden" }, ", which reaches");
}

function thresholdText(threshold) {
  return threshold >= 1 ? "off" : probability(threshold);
}
