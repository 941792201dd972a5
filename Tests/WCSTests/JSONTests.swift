import Testing
import WeirJSON

/// A small generator with a seed, so that a failure can be run again.
struct Seeded: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

@Suite struct JSONTests {
    private func parse(_ text: String, _ limits: JSONParser.Limits = .init()) -> Result<JSONValue, JSONParser.Failure> {
        Result { () throws(JSONParser.Failure) in try JSONParser.parse(Array(text.utf8), limits: limits) }
    }

    @Test(arguments: [
        #"{"a":[1,-0.5e+3,true,false,null,"x"],"b":{}}"#, "[]", "0", #""ж漢😀""#, #"{"a":1,"a":2}"#,
        #"["\"\\\n\r\t\b\f\u0001"]"#,
    ])
    func compactTextComesBackUnchanged(_ text: String) throws {
        #expect(try parse(text).get().serialized == text)
    }

    @Test func escapesAreDecoded() throws {
        #expect(try parse(#""\u0041\/\u00e9\ud83d\ude00""#).get() == .string("A/é😀"))
        #expect(try parse(#""\ud83d""#).get() == .string("\u{FFFD}"))
        #expect(try parse(#""\ud83d\u0041""#).get() == .string("\u{FFFD}A"))
        #expect(try parse(#""\udc00""#).get() == .string("\u{FFFD}"))
    }

    @Test(arguments: [
        "", " ", "{", "[", "[1,]", "{\"a\"}", "{\"a\":}", "{a:1}", "01", "-", "1.", "1e", "+1", ".5", "nul", "truee",
        "\"", "\"\\", "\"\\u12", "\"\\x\"", "\"\n\"", "[1 2]", "{}{}", "'a'", "NaN", "]", "\u{FEFF}{}",
    ])
    func whatIsNotJSONIsRefused(_ text: String) {
        #expect(throws: JSONParser.Failure.self) { try parse(text).get() }
    }

    @Test func badUTF8IsRefused() {
        for bytes: [UInt8] in [
            [0x22, 0xff, 0x22], [0x22, 0xc0, 0x80, 0x22], [0x22, 0x5c, 0x6e, 0xed, 0xa0, 0x80, 0x22],
        ] {
            #expect(throws: JSONParser.Failure.self) { try JSONParser.parse(bytes) }
        }
    }

    @Test func nestingIsLimitedBeforeParsing() {
        let deep = String(repeating: "[", count: 500_000)
        #expect(parse(deep) == .failure(.tooDeep))
        #expect(parse(String(repeating: #"{"a":"#, count: 100_000)) == .failure(.tooDeep))
        let allowed = String(repeating: "[", count: 64) + String(repeating: "]", count: 64)
        #expect((try? parse(allowed).get()) != nil)
        #expect(parse("[" + allowed + "]") == .failure(.tooDeep))
        #expect((try? parse("[\"" + String(repeating: "[", count: 100) + "\"]").get()) != nil)
    }

    @Test func lengthAndNumberOfValuesAreLimited() {
        var limits = JSONParser.Limits()
        limits.bytes = 10
        #expect(parse("[1,2,3,4,5]", limits) == .failure(.tooLong))
        limits = .init()
        limits.values = 3
        #expect((try? parse("[1,2]", limits).get()) != nil)
        #expect(parse("[1,2,3]", limits) == .failure(.tooManyValues))
    }

    @Test func readersAreLenient() {
        let value =
            (try? parse(#"{"n":"5060","f":5.9,"big":1e300,"t":"true","one":1,"name":7,"x":[1],"z":null}"#).get())
        #expect(value?["n"]?.integer == 5060)
        #expect(value?["f"]?.integer == 5)
        #expect(value?["big"]?.integer == 9_007_199_254_740_992)
        #expect(value?["t"]?.flag == true)
        #expect(value?["one"]?.flag == true)
        #expect(value?["name"]?.text == "7")
        #expect(value?["x"]?.text == nil)
        #expect(value?["x"]?.integer == nil)
        #expect(value?["z"]?.text == nil)
        #expect(JSONValue.string("nan").integer == nil)
        #expect(JSONValue.string(String(repeating: "9", count: 400)).integer == nil)
    }

    @Test func whatIsParsedIsWrittenAsTheSameValue() throws {
        var generator = Seeded(state: 42)
        for message in SDKMessages.all {
            var bytes = Array(message.text.utf8)
            for _ in 0..<400 {
                bytes = mutate(Array(message.text.utf8), &generator)
                guard let value = try? JSONParser.parse(bytes) else { continue }
                #expect(try JSONParser.parse(Array(value.serialized.utf8)) == value)
            }
        }
    }
}

/// One to four random changes of the kinds that hurt parsers.
func mutate(_ original: [UInt8], _ generator: inout Seeded) -> [UInt8] {
    var bytes = original
    let structural = Array("{}[]\",:\\u0e-+.ntf ".utf8)
    for _ in 0..<Int.random(in: 1...4, using: &generator) {
        guard !bytes.isEmpty else { return bytes }
        let at = Int.random(in: 0..<bytes.count, using: &generator)
        let end = min(bytes.count, at + Int.random(in: 1...20, using: &generator))
        switch Int.random(in: 0..<6, using: &generator) {
        case 0: bytes[at] = UInt8.random(in: 0...255, using: &generator)
        case 1: bytes[at] = structural.randomElement(using: &generator) ?? 0
        case 2: bytes.insert(structural.randomElement(using: &generator) ?? 0, at: at)
        case 3: bytes.removeSubrange(at..<end)
        case 4: bytes.insert(contentsOf: bytes[at..<end], at: at)
        default: bytes.removeLast(bytes.count - at)
        }
    }
    return bytes
}
