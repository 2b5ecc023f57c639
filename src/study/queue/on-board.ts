import type { Store } from "../store/store.js";
import { Board } from "./board.js";

/**
 * Opens the board of a folder or store for some work, and closes it after: what was put up is wanted no more if the work
 * ended well.
 */
export async function onBoard<Result>(
  url: string,
  store: Store,
  work: (board: Board) => Promise<Result>,
): Promise<Result> {
  const board = await Board.open(url, store);
  let finished = false;
  try {
    const result = await work(board);
    finished = true;
    return result;
  } finally {
    await board.close(finished);
  }
}
