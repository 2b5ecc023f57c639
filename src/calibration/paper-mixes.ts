/** The ten mixes of the REAM paper (arXiv 2604.04356, Section 5): shares of general text, math and code. */
export const PAPER_MIXES = [
  [0.33, 0.33, 0.33],
  [0.5, 0.5, 0],
  [0.5, 0, 0.5],
  [0, 0.5, 0.5],
  [0.2, 0.5, 0.3],
  [0.1, 0.8, 0.1],
  [0, 0.7, 0.3],
  [0.2, 0.25, 0.55],
  [0.1, 0.1, 0.8],
  [0, 0.3, 0.7],
].map(([general, math, code]) => `general=${general},math=${math},code=${code}`);
