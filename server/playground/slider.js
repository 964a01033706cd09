// One category of the dial: its slider, what it comes to, and how sure that is.

import { element, place } from "./dom.js";
import { percent, probability, range } from "./numbers.js";
import { kindOf } from "./setting.js";

const STEP = 0.01;

export class Slider {
  /** `changed(name, value)` is called when a person moves it; null is the default again. */
  constructor(category, calibrated, changed) {
    this.name = category.name;
    this.kind = kindOf(category, calibrated);
    // Bounds are rates: a threshold that they forbid is answered by the server.
    const [floor, ceiling] = this.kind === "rate" ? [category.floor, category.ceiling] : [0, 1];
    this.#build(category, floor, ceiling);
    this.input.addEventListener("input", () => {
      this.reset.hidden = false;
      changed(this.name, this.input.valueAsNumber);
    });
    this.reset.addEventListener("click", () => {
      this.input.focus();
      changed(this.name, null);
    });
  }

  #build(category, floor, ceiling) {
    const id = `dial-${this.name}`;
    this.input = element("input", {
      type: "range",
      id,
      min: floor,
      max: ceiling,
      step: STEP,
      "aria-describedby": `${id}-about`,
      disabled: floor === ceiling,
    });
    this.output = element("output", { for: id, class: "reading" });
    this.interval = element("span", { class: "muted interval" });
    this.reset = element(
      "button",
      { type: "button", class: "icon", "aria-label": `Default for ${this.name}`, hidden: true },
      "↺",
    );
    const parts = ["allowed", "asking", "band", "mark"].map((name) =>
      element("span", { class: name }),
    );
    const track = element("div", { class: "track", "aria-hidden": "true" }, ...parts);
    this.slide = element("div", { class: "slide" }, track, this.input);
    place(this.slide, { floor, ceiling, value: floor, low: 0, high: 0, share: 0 });
    const about = [category.description, boundsText(floor, ceiling)].filter(Boolean).join(" ");
    this.row = element(
      "li",
      { class: "category" },
      element("label", { for: id, class: "name" }, this.name),
      element("span", { class: "values" }, this.reset, this.output, this.interval),
      element("span", { id: `${id}-about`, class: "muted small about" }, about),
      this.slide,
    );
  }

  /** Show what a setting comes to; `found` is the category's part of the calibration, if any. */
  show(asked, found, category, threshold) {
    this.reset.hidden = asked === undefined;
    this.row.classList.toggle("asked", asked !== undefined);
    if (this.kind === "threshold") this.#showThreshold(asked ?? threshold);
    else this.#showRate(asked ?? category.default_rate ?? found.effective_rate, found);
  }

  #showRate(rate, found) {
    this.#move(rate);
    this.output.textContent = percent(found.effective_rate);
    this.interval.textContent = range(found.interval);
    place(this.slide, { ...found.interval, share: found.effective_rate });
    this.input.setAttribute(
      "aria-valuetext",
      `${percent(this.input.valueAsNumber)} asked for; ${percent(found.effective_rate)} refused,` +
        ` ${range(found.interval).replace("–", " to ")} of new prompts`,
    );
  }

  #showThreshold(threshold) {
    this.#move(threshold);
    const text = thresholdText(threshold);
    this.output.textContent = text;
    this.input.setAttribute("aria-valuetext", text);
    this.slide.classList.add("plain");
  }

  #move(value) {
    // A slider in a person's hand is where the person put it, whatever has been answered so far.
    if (!this.input.matches(":active")) this.input.value = value;
    place(this.slide, { value: this.input.valueAsNumber });
  }
}

function thresholdText(threshold) {
  if (threshold >= 1) return "off";
  if (threshold <= 0) return "refuses all";
  return `p ≥ ${probability(threshold)}`;
}

function boundsText(floor, ceiling) {
  if (floor === ceiling) return `The operator fixed it at ${percent(floor)}.`;
  if (floor > 0 && ceiling < 1) return `Between ${percent(floor)} and ${percent(ceiling)} here.`;
  if (floor > 0) return `At least ${percent(floor)} here.`;
  return ceiling < 1 ? `At most ${percent(ceiling)} here.` : "";
}
