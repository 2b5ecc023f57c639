import { readdirSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";

export interface GpuLibrary {
  readonly name: string;
  readonly path: string;
}

/** Beginnings of the names of files, by what they belong to. */
const LIBRARIES: readonly (readonly [name: string, beginnings: readonly string[]])[] = [
  ["CUDA driver", ["libcuda.so", "nvcuda.dll"]],
  ["CUDA runtime", ["libcudart.so", "cudart64"]],
  ["cuBLAS", ["libcublas.so", "cublas64"]],
  ["ROCm HIP", ["libamdhip64.so", "amdhip64"]],
  ["Level Zero", ["libze_loader.so", "ze_loader.dll"]],
  ["Vulkan", ["libvulkan.so", "vulkan-1.dll", "libvulkan.dylib"]],
  ["Metal", ["Metal.framework"]],
];

/** Libraries of graphics processors in the folders where loaders look, the first of each kind. */
export function gpuLibraries(folders: readonly string[] = libraryFolders()): GpuLibrary[] {
  const found = new Map<string, string>();
  for (const folder of folders) {
    const files = listed(folder);
    for (const [name, beginnings] of LIBRARIES) {
      const file = files.find((each) => beginnings.some((beginning) => each.startsWith(beginning)));
      if (file !== undefined && !found.has(name)) found.set(name, join(folder, file));
    }
  }
  return Array.from(found, ([name, path]) => ({ name, path }));
}

function libraryFolders(): string[] {
  const { LD_LIBRARY_PATH, PATH, SystemRoot } = process.env;
  const split = (list: string | undefined) => (list ?? "").split(delimiter).filter((folder) => folder !== "");
  if (process.platform === "win32") return [...split(PATH), join(SystemRoot ?? "C:\\Windows", "System32")];
  if (process.platform === "darwin") return ["/System/Library/Frameworks", "/usr/local/lib", "/opt/homebrew/lib"];
  const multiarch = `/usr/lib/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
  const usual = [multiarch, "/usr/lib64", "/usr/lib", "/usr/local/lib", "/usr/local/cuda/lib64", "/opt/rocm/lib"];
  return [...split(LD_LIBRARY_PATH), ...configured(), ...usual];
}

/** Folders of /etc/ld.so.conf.d. */
function configured(): string[] {
  const folder = "/etc/ld.so.conf.d";
  const lines = listed(folder)
    .filter((file) => file.endsWith(".conf"))
    .flatMap((file) => readFileSync(join(folder, file), "utf8").split("\n"));
  return lines.filter((line) => line.startsWith("/"));
}

/** Names in a folder, sorted; none where there is no such folder. */
function listed(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}
