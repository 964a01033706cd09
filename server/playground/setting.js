// One setting of the dial: what is asked of each category, and where the answer may be refused.

/** How a category can be turned: by rate where it was calibrated, else by threshold. */
export function kindOf(category, calibrated) {
  return calibrated && category.calibration_prompts > 0 ? "rate" : "threshold";
}

export class Setting {
  /** `categories`: the answer of /v1/refusal/categories. */
  constructor(categories) {
    this.kinds = new Map(
      categories.data.map((one) => [one.name, kindOf(one, categories.calibrated)]),
    );
    this.defaultScope = categories.default_scope;
    this.reset();
  }

  /** Ask for nothing: the operator's default, or the model's own habit. */
  reset() {
    this.values = new Map();
    this.scope = this.defaultScope;
  }

  /** Ask for the same as another setting. */
  copy(other) {
    this.values = new Map(other.values);
    this.scope = other.scope;
  }

  /** The fields of a request that ask for it; empty for the default. */
  get fields() {
    const maps = { rate: {}, threshold: {} };
    for (const [name, value] of this.values) maps[this.kinds.get(name)][name] = value;
    const fields = {};
    if (Object.keys(maps.rate).length > 0) fields.refusal_rates = maps.rate;
    if (Object.keys(maps.threshold).length > 0) fields.refusal_thresholds = maps.threshold;
    if (this.scope !== this.defaultScope) fields.refusal_scope = this.scope;
    return fields;
  }

  /** The same as the query of /v1/refusal/calibration, whose maps are JSON. */
  get query() {
    const entries = Object.entries(this.fields).map(([name, value]) => [
      name,
      typeof value === "string" ? value : JSON.stringify(value),
    ]);
    return { curves: "false", ...Object.fromEntries(entries) };
  }

  /** What was asked for, in a few words. */
  get summary() {
    const parts = [...this.values].map(([name, value]) =>
      this.kinds.get(name) === "rate"
        ? `${name} ${Math.round(100 * value)}%`
        : `${name} from p = ${value}`,
    );
    if (this.scope !== this.defaultScope) parts.push(this.scope.replace("_", " "));
    return parts.length > 0 ? parts.join(", ") : "default settings";
  }
}
