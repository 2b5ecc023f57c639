import { type Check, normals, SUMS } from "./check.js";

const TOKENS = 9;

/** Operations that carry a state from token to token. */
export const recurrentChecks: readonly Check[] = [
  {
    operations: ["convolution"],
    tolerance: SUMS,
    run(backend) {
      const [channels, kernel] = [70, 4];
      const state = normals(1, (kernel - 1) * channels);
      const [x, weight] = [normals(2, TOKENS * channels), normals(3, channels * kernel)];
      const segments = [{ tokens: TOKENS, state }];
      return [backend.convolution(x, weight, normals(4, channels), kernel, "silu", segments), state];
    },
  },
  {
    operations: ["deltaRule"],
    tolerance: 4 * SUMS,
    run(backend) {
      const shape = { keyHeads: 1, valueHeads: 2, keySize: 20, valueSize: 70 };
      return [1, shape.keySize].flatMap((gates) => {
        const state = normals(5, 2 * 20 * 70);
        const qkv = normals(6, TOKENS * (2 * 20 + 2 * 70));
        const decay = normals(7, TOKENS * 2 * gates).map((value) => -0.3 * value ** 2);
        const beta = normals(8, TOKENS * 2).map((value) => 1 / (1 + Math.exp(-value)));
        return [backend.deltaRule(qkv, decay, beta, shape, [{ tokens: TOKENS, state }]), state];
      });
    },
  },
  {
    operations: ["linearAttention"],
    tolerance: 4 * SUMS,
    run(backend) {
      const shape = { heads: 2, keySize: 7, valueSize: 69 };
      const state = normals(9, 2 * 7 * 69);
      const qkv = normals(10, TOKENS * 2 * (2 * 7 + 69));
      const decay = Float32Array.of(-0.5, -0.25);
      return [backend.linearAttention(qkv, decay, shape, [{ tokens: TOKENS, state }]), state];
    },
  },
];
