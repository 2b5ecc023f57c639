import { describe, expect, test } from "vitest";
import { InputSums } from "../../../src/compress/steps/input-sums.js";
import { Random } from "../../../src/random.js";
import { backends } from "../../support/backends.js";
