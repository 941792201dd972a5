import MediaFormats
import Wire

/// Input: one byte that names the codec, then one RTP payload (or the bytes of an SPS, or `sprop-parameter-sets`).
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafeRawPointer?, _ count: Int) -> CInt {
    guard let data, count > 0 else { return 0 }
    let input = UnsafeRawBufferPointer(start: data, count: count)
    let payload = UnsafeRawBufferPointer(rebasing: input[1...])
    let kinds = Codec.allCases
    switch Int(input[0]) % (kinds.count + 2) {
    case kinds.count:
        check(H264.size(ofSPS: payload.bytes))
    case kinds.count + 1:
        let sets = H264.parameterSets(sprop: String(decoding: payload, as: UTF8.self))
        precondition(sets.count <= 16 && sets.allSatisfy { !$0.isEmpty }, "bounds of parameter sets")
        for set in sets { check(H264.size(ofSPS: set.span.bytes)) }
    case let kind:
        let facts = PayloadInspector.inspect(kinds[kind], payload.bytes)
        check(facts.size)
        if facts.hasParameterSets { precondition(kinds[kind].isVideo, "audio has no parameter sets") }
    }
    return 0
}

private func check(_ size: VideoSize?) {
    guard let size else { return }
    precondition(size.width > 0 && size.height > 0, "a picture without area")
}
