/** Runs work that reports by callback and yields its events as they come; returns what the work returns. */
export async function* relay<Event, Result>(
  work: (emit: (event: Event) => void) => Promise<Result>,
): AsyncGenerator<Event, Result> {
  const events: Event[] = [];
  let wake = () => {};
  const running = work((event) => {
    events.push(event);
    wake();
  });
  let finished = false;
  const done = running.then(
    () => {
      finished = true;
      wake();
    },
    () => {
      finished = true;
      wake();
    },
  );
  while (!finished || events.length > 0) {
    const event = events.shift();
    if (event !== undefined) yield event;
    else if (!finished) await new Promise<void>((resolve) => (wake = resolve));
  }
  await done;
  return running;
}
