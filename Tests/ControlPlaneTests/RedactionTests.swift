import ControlPlane
import Testing

/// What nobody may read in a report or log.
@Suite struct RedactionTests {
    @Test(arguments: [
        ("a=ice-pwd:SECRET\r\na=setup:passive\r\n", "a=ice-pwd:***\r\na=setup:passive\r\n"),
        ("a=fingerprint:sha-256 SE:CR:ET\r\na=mid:0", "a=fingerprint:***\r\na=mid:0"),
        ("a=crypto:1 AES_CM inline:SECRET", "a=crypto:***"),
        (#"{"sdp":"a=ice-pwd:SECRET\r\na=mid:0\r\n"}"#, #"{"sdp":"a=ice-pwd:***\r\na=mid:0\r\n"}"#),
        (#"{"sipPassword":"SECRET","sipLogin":"1000"}"#, #"{"sipPassword":"***","sipLogin":"1000"}"#),
        (#"{"authToken": "SECRET\"SECRET", "a": 1}"#, #"{"authToken": "***", "a": 1}"#),
        (#""{\"access_token\":\"SECRET\",\"b\":2}""#, #""{\"access_token\":\"***\",\"b\":2}""#),
        (#""{\"pwd\":\"SEC\\\"RET\",\"b\":2}""#, #""{\"pwd\":\"***\",\"b\":2}""#),
        ("token=SECRET&name=cam", "token=***&name=cam"),
        ("X-Api-Key: SECRET\nnext", "X-Api-Key: ***\nnext"),
        ("Authorization: Bearer SECRET\r\nHost: x", "Authorization: Bearer ***\r\nHost: x"),
        ("authorization: Basic SECRET x", "authorization: Basic *** x"),
        ("sent Bearer SECRET, then", "sent Bearer ***, then"),
        ("rtsp://user:SECRET@camera/live", "rtsp://***@camera/live"),
        ("got eyJSECRETSECRET.SECRET.SECRET; fine", "got ***; fine"),
        ("{'secret': 'SECRET'}", "{'secret': '***'}"),
        ("PASSWORD = SECRET", "PASSWORD = ***"),
    ])
    func secretsAreTakenOut(text: String, shown: String) {
        #expect(Redaction.text(text) == shown)
        #expect(!Redaction.text(text).contains("SECRET"))
    }

    @Test(arguments: [
        "a=setup:passive\r\na=ice-ufrag:abcd\r\na=candidate:1 1 udp 1 192.0.2.1 5000 typ host", "https://host/a@b",
        "the token was refused", #"{"name":"cam","payload":[1,2]}"#, "eyJ. is short", "héllo wörld", "", "keyJungle",
        #"{"credentials":{"user":"ann"}}"#, "pass", "password", "token:",
    ])
    func otherTextStaysAsItIs(text: String) {
        #expect(Redaction.text(text) == text)
    }

    @Test func aNameLosesItsQuery() {
        #expect(Redaction.name("cam?key=x") == "cam?***")
        #expect(Redaction.name("rtsp://u:p@host/live?x") == "rtsp://host/live?***")
        #expect(Redaction.name("cam") == "cam")
    }

    /// A megabyte of the worst that each rule can be given.
    @Test(.timeLimit(.minutes(4)), arguments: ["token", "eyJ", "://", "a=", "pass\\\"", "bearer ", "\\"])
    func noTextTakesLong(part: String) {
        let text = String(repeating: part, count: (1 << 20) / part.utf8.count)
        #expect(Redaction.text(text).utf8.count <= text.utf8.count)
    }
}
