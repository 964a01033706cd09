// A slider moves faster than a server answers: one call at a time, and the last one counts.

/** A function that runs `call` again for the latest request only, after the running one. */
export function latest(call) {
  let running = false;
  let waiting = false;
  return async function request() {
    waiting = true;
    if (running) return;
    running = true;
    try {
      while (waiting) {
        waiting = false;
        await call();
      }
    } finally {
      running = false;
    }
  };
}
