//! Memory that vectors load from whole, and that several workers write to.

/// Memory for vectors: aligned to a cache line, so that no vector load straddles two.
#[derive(Default)]
pub struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

impl Buffer {
    /// The first `len` elements, growing when needed; what they hold is left over from before.
    pub fn resized(&mut self, len: usize) -> &mut [f32] {
        let lines = len.div_ceil(16);
        if lines > self.lines.len() {
            // Not `resize`: nobody wants the old values copied.
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

/// A buffer whose rows are written by several workers, each its own rows.
#[derive(Clone, Copy)]
pub struct Shared<'a> {
    start: *mut f32,
    len: usize,
    owner: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a `&mut [f32]` that `Shared::part` hands out in parts its callers keep disjoint.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub fn new(data: &'a mut [f32]) -> Self {
        Self { start: data.as_mut_ptr(), len: data.len(), owner: std::marker::PhantomData }
    }

    /// Of data that is only read: [`Shared::part`] must not be called.
    pub fn read_only(data: &'a [f32]) -> Self {
        Self { start: data.as_ptr().cast_mut(), len: data.len(), owner: std::marker::PhantomData }
    }

    /// Elements `first..first + len`.
    ///
    /// # Safety
    /// The part lies inside the buffer, and no [`Shared::part`] that overlaps it is alive.
    #[inline(always)]
    pub unsafe fn read(self, first: usize, len: usize) -> &'a [f32] {
        debug_assert!(first + len <= self.len);
        // SAFETY: the caller's.
        unsafe { std::slice::from_raw_parts(self.start.add(first), len) }
    }

    /// Elements `first..first + len`, to write.
    ///
    /// # Safety
    /// The part lies inside the buffer, and no other part that overlaps it is alive.
    #[inline(always)]
    pub unsafe fn part(self, first: usize, len: usize) -> &'a mut [f32] {
        debug_assert!(first + len <= self.len);
        // SAFETY: the caller's.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(first), len) }
    }
}
