/** Waits, at most until the signal comes. */
export function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal?.addEventListener("abort", end);
  });
}

/** What a promise brings within some time; undefined after it. */
export async function atMost<T>(milliseconds: number, promise: Promise<T>): Promise<T | undefined> {
  const over = new AbortController();
  try {
    return await Promise.race([promise, sleep(milliseconds, over.signal).then(() => undefined)]);
  } finally {
    // A timer that is left would keep the program from ending.
    over.abort();
  }
}

/** What a promise brings, unless the signal comes before: a server that is down must not keep anybody from stopping. */
export async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop);
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** While a server is down, one call waits for it, not many. That calls fail is left to others to tell. */
export function oneAtATime(work: () => Promise<unknown>): () => void {
  let busy = false;
  return () => {
    if (busy) return;
    busy = true;
    void work()
      .catch(() => undefined)
      .finally(() => {
        busy = false;
      });
  };
}
