import ControlPlane

/// Input: text of a client. Whatever stands around it, a secret on a line of its own goes, and no text grows by more
/// than the marks in it.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafeRawPointer?, _ count: Int) -> CInt {
    guard let data, count > 0 else { return 0 }
    let text = String(decoding: UnsafeRawBufferPointer(start: data, count: count), as: UTF8.self)
    // Not longer than what it stands for, but for empty values.
    precondition(Redaction.text(text).utf8.count <= text.utf8.count * 4, "it grows")
    // Line ends of Unicode are none of ours: only these end a value.
    let half = text.index(text.startIndex, offsetBy: text.count / 2)
    for secret in ["\"authToken\":\"PLANTED\"", "a=ice-pwd:PLANTED", "password=PLANTED", "Bearer PLANTED"] {
        let shown = Redaction.text("\(text[..<half])\n\(secret)\n\(text[half...])")
        let planted = text.contains("PLANTED")
        precondition(planted || !shown.contains("PLANTED"), "a secret is left")
    }
    _ = Redaction.name(text)
    return 0
}
