import DTLS
import Wire

private let alert: UInt8 = 21
private let handshake: UInt8 = 22
private let finished: UInt8 = 20

/// Input: one byte that says how to read the rest (0: one datagram, 1: plaintexts of records that get the right
/// protection, which no mutation finds, 2: sequence numbers), one that chooses the cipher, then the rest.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafeRawPointer?, _ count: Int) -> CInt {
    guard let data, count > 2 else { return 0 }
    let input = [UInt8](UnsafeRawBufferPointer(start: data, count: count))
    let cipher = RecordCipher.allCases[Int(input[1]) % RecordCipher.allCases.count]
    let rest = Array(input[2...])
    switch input[0] % 3 {
    case 0: fuzzDatagram(rest, keys: keys(of: cipher))
    case 1: fuzzRecords(rest, keys: keys(of: cipher))
    default: fuzzWindow(rest)
    }
    return 0
}

private func keys(of cipher: RecordCipher) -> RecordKeys {
    RecordKeys(cipher: cipher, keyBlock: (0..<cipher.keyBlockLength).map { UInt8($0) })
}

/// Without the keys nobody says anything, and every record lies in its datagram.
private func fuzzDatagram(_ datagram: [UInt8], keys: RecordKeys) {
    let bytes = datagram.span.bytes
    var offset = 0
    while let record = DTLSRecord(parsing: bytes, at: offset) {
        precondition(record.fragment.lowerBound == offset + DTLSRecord.headerLength, "a record that does not advance")
        precondition(record.fragment.upperBound <= datagram.count, "a record outside its datagram")
        precondition(record.sequence < 1 << 48, "more than 48 bits")
        offset = record.fragment.upperBound
    }
    var association = Association(keys: keys, ours: .server, nextSequence: 1, nextNonce: 1)
    precondition(association.read(bytes) == .nothing, "a forged record was believed")
}

/// Records of one datagram: type, sequence number, length and bytes of each plaintext. What is read is compared with
/// what the plaintexts say.
private func fuzzRecords(_ input: [UInt8], keys: RecordKeys) {
    var datagram: [UInt8] = []
    var expected = Association.Event.nothing
    var seen: Set<UInt64> = []
    var ended = false
    var at = 0
    while at + 3 <= input.count, datagram.count < 4_096 {
        let type = input[at]
        let sequence = UInt64(input[at + 1] & 0x3f)
        let end = min(at + 3 + Int(input[at + 2]), input.count)
        let plain = Array(input[(at + 3)..<end])
        at = end
        guard
            let record = keys.seal(
                type: type, plaintext: plain, sequence: sequence, nonce: UInt64(datagram.count), writer: .client)
        else { preconditionFailure("cannot seal") }
        datagram += record
        guard !ended, type == alert || type == handshake, seen.insert(sequence).inserted else { continue }
        if type == handshake {
            if plain.count >= 12, plain[0] == finished { expected = .wantsLastFlight }
        } else if plain.count == 2, plain[1] == 0 || plain[0] == 2 {
            expected = plain[1] == 0 ? .closed : .failed(alert: plain[1])
            ended = true
        }
    }
    var server = Association(keys: keys, ours: .server, nextSequence: 3, nextNonce: 9)
    precondition(server.read(datagram.span.bytes) == expected, "another meaning than the plaintexts")
    if !ended { precondition(server.read(datagram.span.bytes) == .nothing, "records were heard twice") }
    guard let goodbye = server.sealCloseNotify() else { preconditionFailure("cannot say goodbye") }
    var client = Association(keys: keys, ours: .client, nextSequence: 3, nextNonce: 9)
    precondition(client.read(goodbye.span.bytes) == .closed, "our own goodbye is not understood")
}

/// Signed steps from the highest number so far; a set remembers what the window must.
private func fuzzWindow(_ input: [UInt8]) {
    var window = RecordWindow()
    var seen: Set<UInt64> = []
    var highest: UInt64 = 1 << 20
    for byte in input {
        let sequence = byte < 0x80 ? highest - UInt64(byte) : highest + UInt64(byte - 0x80)
        let isFresh = !seen.contains(sequence) && (seen.isEmpty || sequence + 64 > highest)
        precondition(window.isFresh(sequence) == isFresh, "the window differs from the set")
        guard isFresh else { continue }
        window.accept(sequence)
        // The first number accepted is the highest, wherever it lies.
        highest = seen.isEmpty ? sequence : max(highest, sequence)
        seen.insert(sequence)
    }
}
