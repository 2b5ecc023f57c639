/**
 * What an error of a layer's output counts for: 1 / rms of the hidden state that the output is added to. What comes after sees
 * hidden states through a norm, so that the same error is less where they are large. 0 for a hidden state of zeros.
 */
export function importanceOf(hidden: Float32Array): number {
  let squares = 0;
  for (let i = 0; i < hidden.length; i++) squares += hidden[i]! ** 2;
  return squares === 0 ? 0 : Math.sqrt(hidden.length / squares);
}
