// The expected over-refusal: how many harmless prompts the setting refuses too.

import { byId, place } from "./dom.js";
import { percent, range } from "./numbers.js";

const SCALE = 0.1;

/** Show the calibration's `over_refusal`; null hides it. */
export function showHarmless(harmless) {
  const known = harmless !== null && harmless.share !== null;
  byId("harmless").hidden = !known;
  if (!known) return;
  const { share, interval, prompts } = harmless;
  byId("harmless-share").textContent = percent(share);
  byId("harmless-interval").textContent = `(${range(interval)} of new prompts, with 95% confidence)`;
  byId("harmless-note").textContent =
    `Of ${prompts} harmless calibration prompts, ${Math.round(share * prompts)} would be refused.`;
  // Over-refusal worth having is small: a tenth fills the meter, unless there is more.
  const scale = Math.max(SCALE, interval.high);
  place(byId("harmless"), {
    low: interval.low / scale,
    high: interval.high / scale,
    share: share / scale,
  });
}
