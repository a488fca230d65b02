//! The codecs of record batches, by name.

/// How the records of a batch are compressed (attribute bits 0 to 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Not compressed.
    #[default]
    None,
    /// gzip, one member.
    Gzip,
    /// Snappy: raw, or in the framing of snappy-java ("xerial").
    Snappy,
    /// The lz4 frame format with independent blocks (KIP-57).
    Lz4,
    /// zstd, one frame (KIP-110).
    Zstd,
}

impl Codec {
    /// Every codec, in the order of its code.
    pub const ALL: &[Self] = &[Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// Kafka's name, as in the `compression.type` setting.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}
