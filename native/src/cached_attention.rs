//! Attention of new tokens to those that a cache keeps.
//!
//! A row is a query head of a token. The query heads that share a head of keys are rows of one block, so that the keys
//! of one token, read once, serve all of them.

use std::cmp::Reverse;
use std::ops::Range;

use crate::cache::{Cache, Segment};
use crate::memory::{Buffer, Disjoint};
use crate::packed::PANEL;
use crate::product::{Context, Rows, block_rows, row_blocks};
use crate::softmax::{Attended, RowState, Scratch, Sight};

/// Pages that are summed by themselves before their sum is added to the row's. Threads share long rows by these chunks;
/// all rows are summed so, however many threads there are.
const CHUNK: usize = 8;

/// Shape of an attention to a cache.
#[derive(Clone, Copy)]
pub struct CachedShape<'a> {
    /// Query heads.
    pub heads: usize,
    /// Factor on the dot products.
    pub scale: f32,
    /// What a query sees of what is before it.
    pub sight: Sight,
    /// `[heads]`: a logit of each head that has no value.
    pub sinks: Option<&'a [f32]>,
}

/// Up to 96 rows of a segment that share a head of keys.
#[derive(Clone)]
struct Block {
    segment: Segment,
    /// First row of the segment in the arrays.
    first_token: usize,
    /// Tokens of the sequence before the segment.
    before: usize,
    key_head: usize,
    /// Row r is head r % group of the key head's, of token r / group of the segment.
    rows: Range<usize>,
    /// Pages that some row sees: those of the prefix, then those of the sequence itself.
    pages: Range<usize>,
}

impl Block {
    fn prefix_length(&self) -> usize {
        self.segment.prefix.map_or(0, |(_, length)| length)
    }

    fn chunks(&self) -> Range<usize> {
        self.pages.start / CHUNK..self.pages.end.div_ceil(CHUNK)
    }
}

/// What a task does: some chunks of a block, whose sum goes to the output or, for a part of a block, to a place: the
/// index of its first row among those that are kept.
struct Task {
    block: usize,
    chunks: Range<usize>,
    place: Option<usize>,
}

/// Appends k `[tokens, key_value_heads, head_size]` and v `[tokens, key_value_heads, value_size]` to the cache, then writes
/// the attention of q `[tokens, heads, head_size]` to out `[tokens, heads, value_size]`. Segments must be checked before.
#[allow(clippy::too_many_arguments)]
pub fn attend_cached(
    context: &Context,
    cache: &mut Cache,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    segments: &[Segment],
    shape: CachedShape,
    out: &mut [f32],
) {
    let before: Vec<_> = segments.iter().map(|segment| cache.length(segment.sequence)).collect();
    cache.append(context, segments, k, v);
    let (head_size, value_size) = (cache.head_size, cache.value_size);
    let row_size = value_size.next_multiple_of(PANEL);
    let queries = Rows::float32(q, head_size);

    let blocks = blocks(cache, segments, &before, shape);
    let (tasks, kept_rows) = tasks(&blocks, context.threads.count());
    let mut sums = Buffer::of::<f32>(kept_rows * row_size);
    let mut states = vec![RowState::default(); kept_rows];
    let work = Work { context, cache, queries, shape };
    {
        let out = Disjoint::new(out);
        let (sums, states) = (Disjoint::new(sums.as_mut_slice::<f32>()), Disjoint::new(&mut states));
        context.threads.run(
            tasks.len(),
            || (Scratch::default(), Attended::new(value_size), Attended::new(value_size)),
            |(scratch, chunk, total), index| {
                let task = &tasks[index];
                let block = &blocks[task.block];
                total.start(block.rows.len());
                for number in task.chunks.clone() {
                    chunk.start(block.rows.len());
                    work.attend(scratch, chunk, block, number);
                    total.merge(context.cpu, chunk.parts(block.rows.len()));
                }
                if let Some(place) = task.place {
                    let (rows, values) = total.parts(block.rows.len());
                    // SAFETY: each place belongs to one task.
                    unsafe {
                        states.range(place, rows.len()).copy_from_slice(rows);
                        sums.range(place * row_size, values.len()).copy_from_slice(values);
                    }
                } else {
                    work.write(total, block, out);
                }
            },
        );
    }
    // Parts are added in their order, as one task would have added them.
    let sums = sums.as_slice::<f32>();
    let out = Disjoint::new(out);
    let mut total = Attended::new(value_size);
    for parts in tasks.chunk_by(|a, b| a.block == b.block).filter(|parts| parts[0].place.is_some()) {
        let block = &blocks[parts[0].block];
        let count = block.rows.len();
        total.start(count);
        for place in parts.iter().filter_map(|part| part.place) {
            total.merge(context.cpu, (&states[place..][..count], &sums[place * row_size..][..count * row_size]));
        }
        work.write(&total, block, out);
    }
}

/// The blocks of all segments.
fn blocks(cache: &Cache, segments: &[Segment], before: &[usize], shape: CachedShape) -> Vec<Block> {
    let group = shape.heads / cache.heads;
    let mut blocks = Vec::new();
    let mut first_token = 0;
    for (&segment, &before) in segments.iter().zip(before) {
        let rows = segment.tokens * group;
        let (count, size) = row_blocks(rows);
        for block in 0..count {
            let rows = block_rows(block, size, rows);
            if rows.is_empty() {
                continue;
            }
            let block = Block { segment, first_token, before, key_head: 0, rows, pages: 0..0 };
            let prefix = block.prefix_length();
            let prefix_pages = prefix.div_ceil(PANEL);
            let first = shape.sight.first(prefix + before + block.rows.start / group);
            let last = before + (block.rows.end - 1) / group;
            let first_page = if first < prefix { first / PANEL } else { prefix_pages + (first - prefix) / PANEL };
            let pages = first_page..prefix_pages + last / PANEL + 1;
            blocks.extend((0..cache.heads).map(|key_head| Block { key_head, pages: pages.clone(), ..block.clone() }));
        }
        first_token += segment.tokens;
    }
    blocks
}

/// Tasks with the longest first, and the number of rows they keep. Blocks that are long beside the whole are shared by
/// chunks.
fn tasks(blocks: &[Block], threads: usize) -> (Vec<Task>, usize) {
    let total: usize = blocks.iter().map(|block| block.pages.len()).sum();
    let longest = if threads == 1 { usize::MAX } else { (total / (4 * threads)).max(CHUNK) };
    let mut order: Vec<_> = (0..blocks.len()).collect();
    order.sort_by_key(|&index| Reverse(blocks[index].pages.len()));
    let mut tasks = Vec::new();
    let mut kept_rows = 0;
    for index in order {
        let chunks = blocks[index].chunks();
        if blocks[index].pages.len() <= longest || chunks.len() == 1 {
            tasks.push(Task { block: index, chunks, place: None });
        } else {
            for chunk in chunks {
                tasks.push(Task { block: index, chunks: chunk..chunk + 1, place: Some(kept_rows) });
                kept_rows += blocks[index].rows.len();
            }
        }
    }
    (tasks, kept_rows)
}

/// What all tasks read.
struct Work<'a> {
    context: &'a Context,
    cache: &'a Cache,
    queries: Rows<'a>,
    shape: CachedShape<'a>,
}

impl Work<'_> {
    fn group(&self) -> usize {
        self.shape.heads / self.cache.heads
    }

    /// Index of row `row` of a block among the heads of all tokens.
    fn row_index(&self, block: &Block, row: usize) -> usize {
        let row = block.rows.start + row;
        (block.first_token + row / self.group()) * self.shape.heads + block.key_head * self.group() + row % self.group()
    }

    /// Lets a block see the pages of a chunk.
    fn attend(&self, scratch: &mut Scratch, attended: &mut Attended, block: &Block, chunk: usize) {
        let prefix = block.prefix_length();
        let prefix_pages = prefix.div_ceil(PANEL);
        for page in block.pages.start.max(chunk * CHUNK)..block.pages.end.min((chunk + 1) * CHUNK) {
            // Position of the page's first token, and of the end of its sequence.
            let (sequence, page, start, end) = match block.segment.prefix {
                Some((sequence, length)) if page < prefix_pages => (sequence, page, page * PANEL, length),
                _ => {
                    let page = page - prefix_pages;
                    (block.segment.sequence, page, prefix + page * PANEL, usize::MAX)
                }
            };
            let seen = |row: usize| {
                let position = prefix + block.before + (block.rows.start + row) / self.group();
                self.shape.sight.first(position).saturating_sub(start)
                    ..(position + 1).min(end).saturating_sub(start).min(PANEL)
            };
            let query_rows = (0..block.rows.len()).map(|row| self.row_index(block, row));
            let panel = self.cache.panel(sequence, page, block.key_head);
            let scale = self.shape.scale;
            scratch.attend(self.context.cpu, attended, self.queries, query_rows, panel, seen, None, scale);
        }
    }

    fn write(&self, attended: &Attended, block: &Block, out: Disjoint<f32>) {
        let size = self.cache.value_size;
        for row in 0..block.rows.len() {
            let index = self.row_index(block, row);
            let sink = self.shape.sinks.map(|sinks| sinks[index % self.shape.heads]);
            // SAFETY: each row is in one block, and each block is written once.
            attended.write(row, sink, unsafe { out.range(index * size, size) });
        }
    }
}
