import { Board } from "./board.js";

/** Opens the board of a folder for some work, and closes it after: what was put up is wanted no more if the work ended well. */
export async function onBoard<Result>(
  url: string,
  folder: string,
  work: (board: Board) => Promise<Result>,
): Promise<Result> {
  const board = await Board.open(url, folder);
  let finished = false;
  try {
    const result = await work(board);
    finished = true;
    return result;
  } finally {
    await board.close(finished);
  }
}
