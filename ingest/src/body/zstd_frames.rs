//! zstd as its standard has it, and nothing older.
//!
//! The library can also read the seven formats from before the standard, and does as soon as any crate of the build turns
//! that on, as tonic does. Those decoders know no bound on the window, and take or refuse a body by where its pieces are
//! cut. No client of today writes these formats.
//!
//! Source: RFC 8878, section 3.1: a frame begins with its magic number, of which the first byte tells the formats apart.

use std::io;

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer, WriteBuf};

/// The largest window of a frame, as a power of two: 16 MiB, which every level but the three "ultra" ones stays within. A
/// frame may ask for gigabytes.
///
/// Source: RFC 8878, section 3.1.1.1.2: a decoder should support 8 MiB.
pub(super) const WINDOW_LOG_MAX: u32 = 24;

/// Decodes one frame after the other.
pub(super) struct ZstdFrames {
    decoder: Decoder<'static>,
    /// The next byte is the first of a frame.
    is_at_start: bool,
}

impl ZstdFrames {
    pub(super) fn new() -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
        Ok(Self { decoder, is_at_start: true })
    }
}

impl Operation for ZstdFrames {
    fn run<C: WriteBuf + ?Sized>(
        &mut self,
        input: &mut InBuffer<'_>,
        output: &mut OutBuffer<'_, C>,
    ) -> io::Result<usize> {
        if self.is_at_start
            && let Some(&first) = input.src.get(input.pos)
        {
            // A frame with content, and one that is skipped.
            if !matches!(first, 0x28 | 0x50..=0x5f) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "not a zstd frame"));
            }
            self.is_at_start = false;
        }
        // Stops where a frame ends, and says so by 0.
        let hint = self.decoder.run(input, output)?;
        self.is_at_start |= hint == 0;
        Ok(hint)
    }

    fn flush<C: WriteBuf + ?Sized>(&mut self, output: &mut OutBuffer<'_, C>) -> io::Result<usize> {
        self.decoder.flush(output)
    }

    fn reinit(&mut self) -> io::Result<()> {
        self.decoder.reinit()
    }

    fn finish<C: WriteBuf + ?Sized>(
        &mut self,
        output: &mut OutBuffer<'_, C>,
        finished_frame: bool,
    ) -> io::Result<usize> {
        self.decoder.finish(output, finished_frame)
    }
}
