/** A look that is taken once for all who ask within some milliseconds. A look that failed is not remembered. */
export function remembered<T>(ms: number, look: () => Promise<T>): () => Promise<T> {
  let last: { at: number; result: Promise<T> } | undefined;
  return async () => {
    const now = performance.now();
    if (last === undefined || now - last.at > ms) {
      const taken = { at: now, result: look() };
      last = taken;
      taken.result.catch(() => {
        if (last === taken) last = undefined;
      });
    }
    return await last.result;
  };
}
