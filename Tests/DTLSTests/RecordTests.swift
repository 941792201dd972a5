import DTLS
import Testing
import Wire

@Suite struct RecordTests {
    // `#expect` takes no spans.
    private func parse(_ bytes: [UInt8], at offset: Int) -> DTLSRecord? {
        DTLSRecord(parsing: bytes.span.bytes, at: offset)
    }

    private func open(
        _ keys: RecordKeys, _ record: DTLSRecord, of bytes: [UInt8], writer: RecordKeys.Writer
    ) -> [UInt8]? {
        keys.open(record, of: bytes.span.bytes, writer: writer)
    }

    @Test func windowAcceptsEachNumberOnce() {
        var random = SeededRandom(seed: 11)
        var window = RecordWindow()
        var seen: Set<UInt64> = []
        var highest: UInt64 = 0
        var refused = 0
        for step in 0..<20_000 {
            // Mostly near the highest, sometimes far ahead.
            let ahead = step % 97 == 0 ? UInt64.random(in: 0...200, using: &random) : 3
            let sequence = UInt64.random(in: (highest > 80 ? highest - 80 : 0)...(highest + ahead), using: &random)
            let expected = !seen.contains(sequence) && (seen.isEmpty || sequence + 64 > highest)
            #expect(window.isFresh(sequence) == expected, "number \(sequence), highest \(highest)")
            guard expected else {
                refused += 1
                continue
            }
            window.accept(sequence)
            seen.insert(sequence)
            highest = max(highest, sequence)
        }
        #expect(refused > 1_000)
    }

    @Test func aRecordMustFitIntoItsDatagram() throws {
        let record: [UInt8] = [22, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 7, 0, 3, 1, 2, 3]
        let two = record + record
        let first = try #require(parse(two, at: 0))
        #expect(first.type == 22 && first.version == 0xfefd && first.epoch == 1 && first.sequence == 7)
        #expect(first.fragment == 13..<16)
        #expect(parse(two, at: 16)?.fragment == 29..<32)
        #expect(parse(two, at: 32) == nil)
        #expect(parse(two, at: -1) == nil)
        #expect(parse(Array(record.prefix(15)), at: 0) == nil)
        #expect(parse(Array(record.prefix(12)), at: 0) == nil)
    }

    @Test(arguments: RecordCipher.allCases) func whatIsSealedOpensForTheOtherSideOnly(cipher: RecordCipher) throws {
        let keys = RecordKeys(cipher: cipher, keyBlock: (0..<cipher.keyBlockLength).map { UInt8($0) })
        for count in [0, 1, 2, 100] {
            let plain = (0..<count).map { UInt8($0) }
            let sealed = try #require(keys.seal(type: 21, plaintext: plain, sequence: 9, nonce: 4, writer: .server))
            #expect(sealed.count == 13 + cipher.explicitNonceLength + count + 16)
            let record = try #require(parse(sealed, at: 0))
            #expect(record.sequence == 9 && record.epoch == 1 && record.fragment.upperBound == sealed.count)
            #expect(open(keys, record, of: sealed, writer: .server) == plain)
            #expect(open(keys, record, of: sealed, writer: .client) == nil)
        }
        // Too short for nonce and tag.
        for length in 0..<24 {
            let short =
                [UInt8(21), 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 1, 0, UInt8(length)]
                + [UInt8](repeating: 0, count: length)
            let record = try #require(parse(short, at: 0))
            #expect(open(keys, record, of: short, writer: .client) == nil)
        }
    }

    @Test func unknownSuitesHaveNoCipher() {
        #expect(RecordCipher(suite: 0xc009) == nil && RecordCipher(suite: 0) == nil)
        #expect(RecordCipher(suite: 0xc02b) == .aes128GCM && RecordCipher(suite: 0xcca9) == .chaCha20Poly1305)
    }
}
