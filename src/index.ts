/** The library: everything that the command `ream` is made of. */

export type { Advice, Option, Quality, RankedOption } from "./advise/advice.js";
export { type AdviseContext, advise } from "./advise/advise.js";
export { type AdviseOptions, adviseOptions } from "./advise/options.js";
export type { Calibration, CalibrationDomain } from "./calibration/calibration.js";
export { type CalibrationContext, type CalibrationEvent, loadCalibration } from "./calibration/load-calibration.js";
export { type CalibrationOptions, calibrationOptions } from "./calibration/options.js";
export { Checkpoint } from "./checkpoint/checkpoint.js";
export type { DType, StoredDType, Tensor, TensorInfo } from "./checkpoint/tensor.js";
export { type Group, type LayerPlan, type Plan, parsePlan, planDigest } from "./compress/plan.js";
export { METHODS, type Method, resolveSettings, type Settings, settingsSchema } from "./compress/settings.js";
export type { Backend, Precision } from "./engine/backend.js";
export { type BackendChoice, selectBackend } from "./engine/select.js";
export { type ErrorDetails, ReamError } from "./errors.js";
export { type HeldOutMeasure, type LastHidden, lastHidden, measureHeldOut } from "./evaluate/held-out.js";
export type {
  Generation,
  GenerationRequest,
  LanguageModel,
  Pair,
  Sampling,
  Scored,
} from "./evaluate/language-model.js";
export { dumpEvaluation, evaluate } from "./evaluate/run/evaluate.js";
export type { Comparison, Evaluation, SubjectResult, TaskReport } from "./evaluate/run/evaluation.js";
export type { EvaluateEvent } from "./evaluate/run/events.js";
export { type EvaluateOptions, evaluateOptions } from "./evaluate/run/options.js";
export type { ChoiceTask, GenerateTask, Task } from "./evaluate/task.js";
export { findTasks, listTasks, type TaskNames } from "./evaluate/tasks/registry.js";
export type { DecodeRequest, Engine, ScoreRequest, TokenProbability, TokenStep } from "./generate/contract.js";
export { type EngineOptions, openEngine } from "./generate/engine.js";
export { generate, generateAll } from "./generate/generate-tokens.js";
export { LocalModel } from "./generate/local-model.js";
export type { HubEvent } from "./hub/settings.js";
export type { ModelDescription } from "./model/description.js";
export { type ForwardTap, forward, OutputHead } from "./model/forward.js";
export type { TokenBatch } from "./model/layer.js";
export { Observation } from "./observe/observation.js";
export { observe } from "./observe/observe.js";
export { type PlanOptions, type PlanResult, plan, planOptions } from "./observe/plan.js";
export { makeBatches } from "./pipeline/batches.js";
export { type CompressResult, compress } from "./pipeline/compress.js";
export type { CompressEvent, Phase } from "./pipeline/events.js";
export { type Inspection, type InspectOptions, inspect } from "./pipeline/inspect.js";
export { type OpenedModel, openModel } from "./pipeline/open-model.js";
export { type CompressOptions, compressOptions } from "./pipeline/options.js";
export { type AnalyseOptions, analyse } from "./study/analysis/analyse.js";
export type { Analysis, MethodAnalysis, MethodPair, PointAnalysis, RatioAnalysis } from "./study/analysis/analysis.js";
export { bestUnder, type Floors } from "./study/analysis/best.js";
export { type ItemsOfStudy, itemsOf, readItems, type StudyItems } from "./study/items.js";
export { localQueue } from "./study/local-queue.js";
export { paperResults } from "./study/paper-results.js";
export { checkResults, type Row, readResults, type StudyResults, writeResults } from "./study/results.js";
export { runStudy, type StudyOutcome } from "./study/run-study.js";
export { readStudy, type Study } from "./study/study-file.js";
export { VERSION } from "./version.js";
