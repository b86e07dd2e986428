//! Numbers for tests that try many things.

/// Numbers that are the same in each run with the same seed.
pub struct Numbers(pub u64);

impl Numbers {
    /// One below `bound`: the upper half of what Knuth's linear congruential generator gives.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}
