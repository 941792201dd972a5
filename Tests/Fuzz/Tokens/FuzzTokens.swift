import ControlPlane
import Tokens
import WeirJSON

/// Input: a first byte that chooses how the rest is read. 0: a token as text. 1: header and claims as JSON, a zero byte
/// between them, signed as the key wants it. 2: a JWK Set. Nobody may be let in whom the rules do not let in.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafeRawPointer?, _ count: Int) -> CInt {
    guard let data, count > 1 else { return 0 }
    let bytes = [UInt8](UnsafeRawBufferPointer(start: data, count: count))
    let rest = Array(bytes[1...])
    switch bytes[0] % 3 {
    case 0: checkText(String(decoding: rest, as: UTF8.self))
    case 1:
        let parts = rest.split(separator: 0, maxSplits: 1, omittingEmptySubsequences: false)
        let signature = encode(Array(FuzzKey.signature.utf8))
        checkText("\(encode(Array(parts[0]))).\(encode(parts.count > 1 ? Array(parts[1]) : [])).\(signature)")
    default: checkKeySet(rest)
    }
    return 0
}

/// Takes one signature, so that the fuzzer gets past it.
private struct FuzzKey: SignatureKey {
    static let signature = "signed"
    func isSignature(_ signature: [UInt8], of signed: [UInt8]) -> Bool { signature == Array(Self.signature.utf8) }
}

private let now = 1_800_000_000.0
private let verifier = TokenVerifier(
    keys: TokenKeys([
        .init(.hs256, nil): FuzzKey(), .init(.rs256, "r"): FuzzKey(), .init(.es256, "e"): FuzzKey(),
    ]), rules: .init(issuer: "me", audience: "weir", leeway: 5))

private func checkText(_ text: String) {
    guard let token = try? CompactToken(parsing: text) else {
        precondition((try? verifier.allow(token: text, action: .publish, stream: "cam", now: now)) == nil, "unread")
        return
    }
    precondition(text.utf8.count <= CompactToken.maxBytes, "too long")
    // What is signed is what was sent, and no other text means the same.
    let signed = String(decoding: token.signed, as: UTF8.self)
    precondition(text == "\(signed).\(encode(token.signature))", "several texts")
    let payload = signed.split(separator: ".", omittingEmptySubsequences: false).last.map(String.init)
    precondition(payload == encode(token.payload), "several payloads")
    for action in StreamAction.allCases {
        guard let claims = try? verifier.allow(token: text, action: action, stream: "cam", now: now) else { continue }
        precondition(token.signature == Array(FuzzKey.signature.utf8), "not signed")
        switch token.algorithm {
        case .hs256: precondition(token.keyId == nil, "another key")
        case .rs256: precondition(token.keyId == "r", "another key")
        case .es256: precondition(token.keyId == "e", "another key")
        }
        precondition(claims.expires > now - 5 && claims.expires < 253_402_300_800, "expired, or never")
        precondition((claims.notBefore ?? 0) <= now + 5, "not yet")
        precondition(claims.issuer == "me" && claims.audiences.contains("weir"), "not for us")
        precondition(claims.patterns[action]?.contains { $0.matches("cam") } == true, "no right")
        // A plain reader finds the same expiry: nothing is there twice.
        guard let value = try? JSONParser.parse(token.payload), case .object(let members) = value else {
            preconditionFailure("no JSON")
        }
        precondition(members.count { $0.name == "exp" } == 1 && members.count { $0.name == "weir" } == 1, "twice")
    }
}

private func checkKeySet(_ bytes: [UInt8]) {
    do {
        let set = try KeySet(parsing: bytes)
        precondition(!set.keys.isEmpty && set.keys.count <= 200, "number of keys")
        precondition(Set(set.keys.map(\.id)).count == set.keys.count, "two keys of one id")
        for key in set.keys { precondition(!key.id.isEmpty && key.name.algorithm != .hs256, "no name") }
    } catch {
        precondition(error.description.utf8.count < 300, "an error without end")
    }
}

private func encode(_ bytes: [UInt8]) -> String {
    let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
    var out: [UInt8] = []
    var buffer: UInt32 = 0
    var bits: UInt32 = 0
    for byte in bytes {
        buffer = (buffer << 8 | UInt32(byte)) & 0xffff
        bits += 8
        while bits >= 6 {
            bits -= 6
            out.append(letters[Int(buffer >> bits & 63)])
        }
    }
    if bits > 0 { out.append(letters[Int(buffer << (6 - bits) & 63)]) }
    return String(decoding: out, as: UTF8.self)
}
