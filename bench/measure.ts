/** Speed of repeated work, in 10^9 operations per second of the time that passed and of the processor's. */
export interface Speed {
  readonly wall: number;
  /** On a machine that does other work too this tells more. */
  readonly core: number;
}

/**
 * Repeats work for some seconds, at least once and until the system has counted some time of the processor; `run` gets the
 * number of the repetition and returns its operations.
 */
export function measureSpeed(seconds: number, run: (repetition: number) => number): Speed {
  const began = process.cpuUsage();
  const start = performance.now();
  const used = () => {
    const { user, system } = process.cpuUsage(began);
    return user + system;
  };
  let operations = 0;
  for (let repetition = 0; performance.now() - start < 1000 * seconds || used() === 0; repetition++)
    operations += run(repetition);
  return { wall: operations / ((performance.now() - start) * 1e6), core: operations / (used() * 1e3) };
}
