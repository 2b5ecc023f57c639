//! Keys and values of the tokens that a layer has seen, by sequence, in pages of 64 tokens.
//!
//! A page holds, for each head, a panel of keys and the panels of values (`softmax.rs`), so that a product reads it as
//! it lies. Pages of one cache have one size: those that a sequence gives back serve the next (`memory.rs`).

use std::collections::HashMap;

use crate::math::to_bfloat16;
use crate::memory::{Buffer, Disjoint};
use crate::packed::{Format, HALF, PANEL};
use crate::product::Context;
use crate::softmax::{Panel, panel_bytes};

/// Tokens that a task of `append` writes at least, so that handing it out costs little.
const GRAIN: usize = 256;

/// Keys and values of one layer.
pub struct Cache {
    /// Heads of keys and values.
    pub heads: usize,
    /// Size of a head of keys.
    pub head_size: usize,
    /// Size of a head of values.
    pub value_size: usize,
    format: Format,
    sequences: HashMap<u32, Sequence>,
}

/// Where the numbers of one head of a page lie.
#[derive(Clone, Copy)]
struct Layout {
    /// Numbers of the keys, which come first.
    keys: usize,
    /// Numbers of the values.
    values: usize,
    /// Whether a step has pairs: each number of its first half with one of its second.
    paired: bool,
}

impl Layout {
    fn new(format: Format, head_size: usize, value_size: usize) -> Self {
        let (keys, values) = panel_bytes(format, head_size, value_size);
        let bytes = format.panel_bytes();
        Self { keys: keys / bytes, values: values / bytes, paired: format != Format::F32 }
    }

    fn numbers(self) -> usize {
        self.keys + self.values
    }

    /// Index of a dimension of a token's key.
    #[inline(always)]
    fn key(self, token: usize, dimension: usize) -> usize {
        self.panel(dimension, token)
    }

    /// Index of a dimension of a token's value, from the start of the values.
    #[inline(always)]
    fn value(self, token: usize, dimension: usize) -> usize {
        dimension / PANEL * (PANEL * PANEL) + self.panel(token, dimension % PANEL)
    }

    #[inline(always)]
    fn panel(self, step: usize, column: usize) -> usize {
        step * PANEL + if self.paired { 2 * (column % HALF) + column / HALF } else { column }
    }
}

#[derive(Default)]
struct Sequence {
    length: usize,
    pages: Vec<Buffer>,
}

/// New tokens of a sequence.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// The sequence.
    pub sequence: u32,
    /// How many.
    pub tokens: usize,
    /// A sequence whose first tokens come before this one's, and how many.
    pub prefix: Option<(u32, usize)>,
}

impl Cache {
    /// An empty cache for the precision of a context.
    pub fn new(context: &Context, heads: usize, head_size: usize, value_size: usize) -> Self {
        // Queries and weights stay float32, also where products with weights have bfloat16 on both sides.
        let format = if context.format == Format::F32 { Format::F32 } else { Format::Bf16Widened };
        Self { heads, head_size, value_size, format, sequences: HashMap::new() }
    }

    /// Bytes of the pages in use.
    pub fn bytes(&self) -> usize {
        self.sequences.values().map(|sequence| sequence.pages.len()).sum::<usize>() * self.page_bytes()
    }

    /// Tokens of a sequence.
    pub fn length(&self, sequence: u32) -> usize {
        self.sequences.get(&sequence).map_or(0, |sequence| sequence.length)
    }

    /// Forgets the tokens of a sequence from `length` on.
    pub fn truncate(&mut self, sequence: u32, length: usize) {
        let Some(kept) = self.sequences.get_mut(&sequence).filter(|kept| length < kept.length) else { return };
        if length == 0 {
            self.sequences.remove(&sequence);
            return;
        }
        let layout = Layout::new(self.format, self.head_size, self.value_size);
        let end = kept.length.min(length.next_multiple_of(PANEL));
        kept.length = length;
        kept.pages.truncate(length.div_ceil(PANEL));
        let Some(page) = kept.pages.last_mut() else { return };
        // A value that is not finite would spoil its neighbours even with weight 0.
        let bytes = self.format.panel_bytes();
        for head in page.as_mut_slice::<u8>().chunks_exact_mut(layout.numbers() * bytes).take(self.heads) {
            for token in length..end {
                for dimension in 0..self.value_size {
                    let start = (layout.keys + layout.value(token % PANEL, dimension)) * bytes;
                    head[start..start + bytes].fill(0);
                }
            }
        }
    }

    fn layout(&self) -> Layout {
        Layout::new(self.format, self.head_size, self.value_size)
    }

    fn page_bytes(&self) -> usize {
        let (keys, values) = panel_bytes(self.format, self.head_size, self.value_size);
        self.heads * (keys + values)
    }

    /// The keys and values of a head in page `page` of a sequence.
    pub fn panel(&self, sequence: u32, page: usize, head: usize) -> Panel<'_> {
        let (keys, values) = panel_bytes(self.format, self.head_size, self.value_size);
        let bytes = &self.sequences[&sequence].pages[page].as_slice()[head * (keys + values)..][..keys + values];
        let (keys, values) = bytes.split_at(keys);
        Panel { format: self.format, keys, values }
    }

    /// Appends k `[tokens, heads, head_size]` and v `[tokens, heads, value_size]`, the rows of the segments one after the
    /// other. No sequence may be in two segments.
    pub fn append(&mut self, context: &Context, segments: &[Segment], k: &[f32], v: &[f32]) {
        if self.format == Format::F32 {
            self.append_as::<f32>(context, segments, k, v, |value| value);
        } else {
            self.append_as::<u16>(context, segments, k, v, to_bfloat16);
        }
    }

    fn append_as<T: crate::memory::Plain + Default>(
        &mut self,
        context: &Context,
        segments: &[Segment],
        k: &[f32],
        v: &[f32],
        number: impl Fn(f32) -> T + Sync,
    ) {
        let (heads, page_bytes, layout) = (self.heads, self.page_bytes(), self.layout());
        let (head_size, value_size) = (self.head_size, self.value_size);
        // Taken out while they are written, so that each can be borrowed by itself.
        let mut taken: Vec<_> = segments
            .iter()
            .filter(|segment| segment.tokens > 0)
            .map(|segment| self.sequences.remove(&segment.sequence).unwrap_or_default())
            .collect();
        let mut pieces = Vec::new();
        let mut row = 0;
        for (sequence, segment) in taken.iter_mut().zip(segments.iter().filter(|segment| segment.tokens > 0)) {
            let (start, end) = (sequence.length, sequence.length + segment.tokens);
            sequence.pages.resize_with(end.div_ceil(PANEL), || Buffer::of::<u8>(page_bytes));
            sequence.length = end;
            for (index, page) in sequence.pages.iter_mut().enumerate().skip(start / PANEL) {
                let tokens = start.max(index * PANEL)..end.min((index + 1) * PANEL);
                pieces.push((Disjoint::new(page.as_mut_slice::<T>()), row + tokens.start - start, tokens));
            }
            row += segment.tokens;
        }
        let grain = (GRAIN * pieces.len()).div_ceil(row.max(1));
        context.threads.pieces(pieces.len() * heads, grain, |tasks| {
            for task in tasks {
                let (page, row, ref tokens) = pieces[task / heads];
                let head = task % heads;
                let numbers = layout.numbers();
                // SAFETY: each page is in one piece, and each task has its own head of it.
                let (keys, values) = unsafe { page.range(head * numbers, numbers) }.split_at_mut(layout.keys);
                if tokens.start.is_multiple_of(PANEL) {
                    // Weights of missing tokens are 0, which needs numbers on the other side; a padded head adds zeros.
                    keys.fill(T::default());
                    values.fill(T::default());
                }
                for (row, token) in (row..).zip(tokens.clone()) {
                    let (row, j) = (row * heads + head, token % PANEL);
                    for (d, &key) in k[row * head_size..][..head_size].iter().enumerate() {
                        keys[layout.key(j, d)] = number(key);
                    }
                    for (d, &value) in v[row * value_size..][..value_size].iter().enumerate() {
                        values[layout.value(j, d)] = number(value);
                    }
                }
            }
        });
        drop(pieces);
        for (sequence, segment) in taken.into_iter().zip(segments.iter().filter(|segment| segment.tokens > 0)) {
            self.sequences.insert(segment.sequence, sequence);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cache, Segment};
    use crate::dispatch::Cpu;
    use crate::math::to_bfloat16;
    use crate::packed::{Format, PANEL};
    use crate::product::Context;
    use crate::threads::Threads;

    /// Two sequences in two calls, then a truncation: every number lies where the layout says, and the rest is 0.
    #[test]
    fn pages_hold_what_was_appended() {
        for cpu in Cpu::supported() {
            for bfloat16 in [false, true] {
                let format = Format::new(cpu, bfloat16);
                let context = Context { cpu, threads: Threads::new(2).unwrap(), format };
                let (heads, size, value_size) = (2, 67, 45);
                let mut cache = Cache::new(&context, heads, size, value_size);
                let number = |token: usize, head: usize, d: usize| (token * 1000 + head * 100 + d) as f32;
                let array = |tokens: &[usize], size: usize| -> Vec<f32> {
                    let head = |token| (0..heads).flat_map(move |head| (0..size).map(move |d| number(token, head, d)));
                    tokens.iter().flat_map(|&token| head(token)).collect()
                };
                let segment = |sequence, tokens| Segment { sequence, tokens, prefix: None };
                let tokens: Vec<_> = (0..70).chain(500..505).collect();
                let (keys, values) = (array(&tokens, size), array(&tokens, value_size));
                cache.append(&context, &[segment(9, 70), segment(4, 5)], &keys, &values);
                let tokens: Vec<_> = (505..508).chain(70..100).collect();
                let (keys, values) = (array(&tokens, size), array(&tokens, value_size));
                cache.append(&context, &[segment(4, 3), segment(9, 30)], &keys, &values);
                cache.truncate(9, 90);
                assert_eq!((cache.length(9), cache.length(4), cache.length(1)), (90, 8, 0));

                let layout = cache.layout();
                for (sequence, first, count) in [(9, 0, 90), (4, 500, 8)] {
                    for (token, head) in (0..count).flat_map(|token| (0..heads).map(move |head| (token, head))) {
                        let panel = cache.panel(sequence, token / PANEL, head);
                        for d in 0..size {
                            let key = (panel.keys, layout.key(token % PANEL, d));
                            let value = (d < value_size).then(|| (panel.values, layout.value(token % PANEL, d)));
                            for (bytes, index) in [Some(key), value].into_iter().flatten() {
                                let number = number(first + token, head, d);
                                let wanted = if bfloat16 {
                                    to_bfloat16(number).to_ne_bytes().to_vec()
                                } else {
                                    number.to_ne_bytes().to_vec()
                                };
                                assert_eq!(bytes[index * wanted.len()..][..wanted.len()], wanted);
                            }
                        }
                    }
                }
                // 26 tokens of the last page of sequence 9 are left.
                let values = cache.panel(9, 1, 1).values;
                let numbers = values.chunks_exact(cache.format.panel_bytes());
                assert_eq!(numbers.filter(|number| number.iter().any(|&byte| byte != 0)).count(), 26 * value_size);
            }
        }
    }
}
