import LoadGenerator
import MediaFormats
import Testing
import Wire

@Suite struct ClipsFrameMarkTests {
    private func bytes(of mark: FrameMark) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: FrameMark.length)
        bytes.withUnsafeMutableBytes { mark.write($0.baseAddress!) }
        return bytes
    }

    private func read(_ bytes: [UInt8]) -> FrameMark? { bytes.withUnsafeBytes { FrameMark.read($0.baseAddress!) } }

    @Test(arguments: [UInt16(0), 1, 0x80, 0x4000, .max], [UInt32(0), 1, 0x7f, 0x80, 0x8000_0000, .max])
    func roundTripsWithoutAZeroByte(publisher: UInt16, frame: UInt32) {
        let mark = FrameMark(publisher: publisher, frame: frame)
        #expect(read(bytes(of: mark)) == mark)
        #expect(bytes(of: mark).allSatisfy { $0 >= 0x80 })
    }

    @Test func refusesRandomBytes() {
        var random = SeededRandom(seed: 1)
        for _ in 0..<20_000 {
            #expect(read((0..<FrameMark.length).map { _ in UInt8.random(in: 0...255, using: &random) }) == nil)
            #expect(read((0..<FrameMark.length).map { _ in UInt8.random(in: 128...255, using: &random) }) == nil)
        }
    }

    @Test func refusesRandomBytesBehindTheMagic() {
        var random = SeededRandom(seed: 2)
        let magic = bytes(of: FrameMark(publisher: 0, frame: 0)).prefix(4)
        for _ in 0..<20_000 {
            let rest = (4..<FrameMark.length).map { _ in UInt8.random(in: 128...255, using: &random) }
            #expect(read(magic + rest) == nil)
        }
    }

    @Test func refusesEveryMarkWithABitFlipped() {
        let good = bytes(of: FrameMark(publisher: 1234, frame: 567_890))
        for bit in 0..<(8 * FrameMark.length) {
            var bad = good
            bad[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(read(bad) == nil)
        }
    }

    @Test func liesAtTheEndOfTheLastPacket() {
        #expect(FrameMark.offset(codec: .h264, payloadLength: 1188) == 1171)
        #expect(FrameMark.offset(codec: .vp8, payloadLength: 1188) == 1172)
        #expect(FrameMark.offset(codec: .opus, payloadLength: 80) == 64)
        #expect(FrameMark.offset(codec: .h264, payloadLength: 17) == nil)
        #expect(FrameMark.offset(codec: .vp8, payloadLength: 16) == nil)
        #expect(FrameMark.offset(codec: .opus, payloadLength: 0) == nil)
    }
}
