/** Speed of repeated work, in 10^9 operations per second of the time that passed and of the processor's. */
export interface Speed {
  readonly wall: number;
  /** On a machine that does other work too this tells more. */
  readonly core: number;
}

/** Repeats work for some seconds, at least once; `run` gets the number of the repetition and returns its operations. */
export function measureSpeed(seconds: number, run: (repetition: number) => number): Speed {
  const cpu = process.cpuUsage();
  const start = performance.now();
  let operations = 0;
  for (let repetition = 0; repetition === 0 || performance.now() - start < 1000 * seconds; repetition++)
    operations += run(repetition);
  const wall = performance.now() - start;
  const { user, system } = process.cpuUsage(cpu);
  return { wall: operations / (wall * 1e6), core: operations / ((user + system) * 1e3) };
}
