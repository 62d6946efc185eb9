//! Aligned memory, views of matrices, and a buffer that several workers write to.

#![allow(unsafe_code)]

/// Floats that start at a cache line, so that no load of a whole vector touches two lines.
#[derive(Default)]
pub struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

impl Buffer {
    /// Makes the buffer `len` long and gives its elements, whose values are those of an earlier use, or
    /// zeros. Memory is allocated only when `len` is more than ever before.
    pub fn resized(&mut self, len: usize) -> &mut [f32] {
        let lines = len.div_ceil(16);
        if lines > self.lines.len() {
            // Not `resize`, which would copy values that nobody needs.
            self.lines = vec![Line([0.0; 16]); lines];
        }
        self.len = len;
        self
    }
}

impl std::ops::Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        debug_assert!(self.len <= self.lines.len() * 16);
        // SAFETY: `Line` is 16 floats without padding, and `resized` keeps `len` within the lines.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        debug_assert!(self.len <= self.lines.len() * 16);
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

/// A matrix whose row i starts at `data[i * stride]`, to read.
#[derive(Clone, Copy)]
pub struct MatRef<'a> {
    pub data: &'a [f32],
    pub stride: usize,
}

impl<'a> MatRef<'a> {
    /// Rows at a distance of `stride` floats.
    #[inline(always)]
    pub fn new(data: &'a [f32], stride: usize) -> Self {
        Self { data, stride }
    }
}

/// A matrix whose row i starts at `data[i * stride]`, to write.
pub struct MatMut<'a> {
    pub data: &'a mut [f32],
    pub stride: usize,
}

impl<'a> MatMut<'a> {
    /// Rows at a distance of `stride` floats.
    #[inline(always)]
    pub fn new(data: &'a mut [f32], stride: usize) -> Self {
        Self { data, stride }
    }
}

/// A buffer of which several workers write parts, each its own: `&mut [f32]` without the borrow check.
#[derive(Clone, Copy)]
pub struct Shared<'a> {
    start: *mut f32,
    len: usize,
    owner: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: it stands for a `&mut [f32]`, and the callers of `Shared::part` see to it that the parts in
// use do not overlap.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub fn new(data: &'a mut [f32]) -> Self {
        Self { start: data.as_mut_ptr(), len: data.len(), owner: std::marker::PhantomData }
    }

    /// A buffer that is only read: [`Shared::part`] must not be called on it.
    pub fn read_only(data: &'a [f32]) -> Self {
        Self { start: data.as_ptr().cast_mut(), len: data.len(), owner: std::marker::PhantomData }
    }

    /// Elements `first..first + len`.
    ///
    /// # Safety
    /// The part lies inside the buffer, and no [`Shared::part`] that overlaps it is in use.
    #[inline(always)]
    pub unsafe fn read(self, first: usize, len: usize) -> &'a [f32] {
        debug_assert!(first + len <= self.len);
        // SAFETY: the caller's.
        unsafe { std::slice::from_raw_parts(self.start.add(first), len) }
    }

    /// Elements `first..first + len`, to write.
    ///
    /// # Safety
    /// The part lies inside the buffer, and no other part that overlaps it is in use.
    #[inline(always)]
    pub unsafe fn part(self, first: usize, len: usize) -> &'a mut [f32] {
        debug_assert!(first + len <= self.len);
        // SAFETY: the caller's.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(first), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_aligned_and_keeps_its_memory_until_it_grows() {
        let mut buffer = Buffer::default();
        assert!(buffer.is_empty());
        for len in [0, 1, 15, 16, 17, 31, 32, 33, 1000] {
            let data = buffer.resized(len);
            assert_eq!((data.len(), data.as_ptr().align_offset(64)), (len, 0), "{len}");
            data.fill(len as f32);
        }
        assert_eq!(buffer.len(), 1000);
        let start = buffer.as_ptr();
        for len in [7, 0, 16, 1000, 1008] {
            assert!(buffer.resized(len).iter().take(1000).all(|&x| x == 1000.0), "{len}");
            assert_eq!((buffer.as_ptr(), buffer.len()), (start, len));
        }
    }

    #[test]
    fn parts_of_a_shared_buffer_are_the_elements_asked_for() {
        let mut data: Vec<f32> = (0..10).map(|i| i as f32).collect();
        let shared = Shared::new(&mut data);
        // SAFETY: all inside, and none of the three overlaps another.
        let (read, left, right) =
            unsafe { (shared.read(3, 2), shared.part(0, 3), shared.part(5, 5)) };
        assert_eq!(read, [3.0, 4.0]);
        left.fill(-1.0);
        right[4] = -2.0;
        // SAFETY: inside; an empty part at the very end overlaps nothing.
        assert!(unsafe { shared.part(10, 0) }.is_empty());
        assert_eq!(data, [-1.0, -1.0, -1.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, -2.0]);
        // SAFETY: inside, and only read.
        assert_eq!(unsafe { Shared::read_only(&data).read(9, 1) }, [-2.0]);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "first + len <= self.len")]
    fn a_part_outside_of_a_shared_buffer_is_refused_in_debug_builds() {
        let mut data = [0.0; 4];
        // SAFETY: refused before it is made.
        unsafe { Shared::new(&mut data).part(2, 3) };
    }
}
