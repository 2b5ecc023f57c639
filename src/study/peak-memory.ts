const PAUSE = 50;

/**
 * Looks again and again at how much memory the process has, in bytes: what it has had at most since it began, which the
 * system tells, would be that of earlier jobs.
 */
export class PeakMemory {
  private peak = process.memoryUsage.rss();
  private readonly timer = setInterval(() => this.look(), PAUSE).unref();

  private look(): void {
    this.peak = Math.max(this.peak, process.memoryUsage.rss());
  }

  /** Ends looking; the most that was seen. */
  stop(): number {
    clearInterval(this.timer);
    this.look();
    return this.peak;
  }
}
