// How numbers are shown, and the one formula that the page needs.

/** A share between 0 and 1, as people read it; "unknown" where there is none. */
export function percent(share) {
  if (share === null || share === undefined) return "unknown";
  const fine = (share > 0 && share < 0.0995) || (share > 0.9905 && share < 0.9995);
  return `${Number((100 * share).toFixed(fine ? 1 : 0))}%`;
}

/** An interval of shares. */
export function range({ low, high }) {
  return `${percent(low).replace("%", "")}–${percent(high)}`;
}

/** A probability, which may be very near 0 or 1. */
export function probability(value) {
  if (value > 0 && value < 0.0001) return "<0.01%";
  if (value < 1 && value > 0.9999) return ">99.99%";
  const percents = 100 * value;
  const edge = Math.min(percents, 100 - percents);
  return `${percents.toFixed(edge === 0 ? 0 : edge < 1 ? 2 : 1)}%`;
}

/** log p − log(1 − p): ±Infinity at 1 and 0. */
export function logOdds(share) {
  return Math.log(share) - Math.log1p(-share);
}
