// The dial: a slider per category, the scope, one setting or two, and what they come to.

import { announce, byId, element } from "./dom.js";
import { showHarmless } from "./harmless.js";
import { latest } from "./latest.js";
import { Setting } from "./setting.js";
import { Slider } from "./slider.js";

const SCOPES = { first_token: "Before the answer", every_token: "Anywhere in it" };
const HELP = {
  rate:
    "Set the share of each category's prompts to refuse. The numbers are what it comes to, and the" +
    " 95% interval for new prompts.",
  threshold:
    "This checkpoint has no calibration, so there are no rates: a prompt is refused from this" +
    " probability of the category's refuse token on.",
};

export class Dial {
  /**
   * `categories`: of /v1/refusal/categories; `failed(error)` hears of what the server answers
   * instead; `changed()` is called once what the sliders stand for is known.
   */
  constructor(api, categories, { failed, changed }) {
    this.api = api;
    this.categories = categories;
    this.failed = failed;
    this.changed = changed;
    this.settings = { A: new Setting(categories), B: new Setting(categories) };
    this.active = "A";
    this.thresholds = {};
    this.refresh = latest(() => this.#ask());
    this.#buildSliders();
    this.#buildScopes();
    this.#buildCompare();
    byId("reset").addEventListener("click", () => {
      this.setting.reset();
      announce(`${this.comparing ? `Setting ${this.active}` : "The dial"} is at its defaults.`);
      this.refresh();
    });
  }

  /** The setting that the sliders move. */
  get setting() {
    return this.settings[this.active];
  }

  get comparing() {
    return byId("compare").checked;
  }

  /** The settings that a prompt is asked under, by name. */
  get asked() {
    return this.comparing ? this.settings : { A: this.settings.A };
  }

  #buildSliders() {
    const { calibrated, data } = this.categories;
    byId("dial-help").textContent = HELP[calibrated ? "rate" : "threshold"];
    this.sliders = data.map(
      (category) =>
        new Slider(category, calibrated, (name, value) => {
          if (value === null) this.setting.values.delete(name);
          else this.setting.values.set(name, value);
          this.refresh();
        }),
    );
    byId("categories").replaceChildren(...this.sliders.map((slider) => slider.row));
  }

  #buildScopes() {
    const { scopes } = this.categories;
    const group = byId("scope");
    group.hidden = scopes.length < 2;
    group.replaceChildren(group.querySelector("legend"));
    for (const scope of scopes) {
      const radio = element("input", { type: "radio", name: "scope", value: scope });
      radio.addEventListener("change", () => {
        this.setting.scope = scope;
        this.refresh();
      });
      group.append(element("label", {}, radio, element("span", {}, SCOPES[scope] ?? scope)));
    }
  }

  #buildCompare() {
    const which = byId("which");
    byId("compare").addEventListener("change", () => {
      which.hidden = !this.comparing;
      if (this.comparing) this.settings.B.copy(this.settings.A);
      this.#turnTo(this.comparing ? "B" : "A");
    });
    for (const radio of which.querySelectorAll("input")) {
      radio.addEventListener("change", () => this.#turnTo(radio.value));
    }
  }

  #turnTo(active) {
    this.active = active;
    byId("which").querySelector(`[value="${active}"]`).checked = true;
    this.refresh();
  }

  async #ask() {
    const setting = this.setting;
    this.#showSummary();
    try {
      const view = await this.api.get("refusal/calibration", setting.query);
      if (setting === this.setting) this.#show(view);
    } catch (error) {
      this.failed(error);
    }
  }

  #show(view) {
    const found = new Map(view.categories.map((one) => [one.name, one]));
    this.thresholds = view.refusal_settings.thresholds;
    this.categories.data.forEach((category, index) => {
      const asked = this.setting.values.get(category.name);
      const threshold = this.thresholds[category.name];
      this.sliders[index].show(asked, found.get(category.name), category, threshold);
    });
    for (const radio of byId("scope").querySelectorAll("input")) {
      radio.checked = radio.value === this.setting.scope;
    }
    showHarmless(view.over_refusal);
    const warnings = view.refusal_settings.warnings.map((text) => element("p", {}, text));
    byId("warnings").replaceChildren(...warnings);
    this.#showSummary();
    this.changed();
  }

  #showSummary() {
    const parts = Object.entries(this.asked).map(([name, setting]) =>
      this.comparing ? `${name}: ${setting.summary}` : setting.summary,
    );
    byId("dial-summary").textContent = parts.join(" · ");
  }
}
