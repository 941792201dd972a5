import Testing
import Tokens

@Suite struct NamePatternTests {
    @Test(arguments: [
        ("cam", "cam", true), ("cam", "Cam", false), ("cam", "cam1", false), ("cam", "ca", false), ("*", "any", true),
        ("room-7-*", "room-7-ann", true), ("room-7-*", "room-7-", true), ("room-7-*", "room-70-ann", false),
        ("*-low", "ann-low", true), ("*-low", "ann-lows", false), ("a*z", "az", true), ("a*z", "a", false),
        ("ab*ba", "aba", false), ("ab*ba", "abba", true), ("a*", "*", false), ("*", "*", true),
        ("caf\u{e9}", "cafe\u{301}", true), ("cafe*", "cafe\u{301}-1", false),
    ])
    func aPatternIsANameOrABeginningAndAnEnd(pattern: String, name: String, expected: Bool) throws {
        #expect(try #require(NamePattern(pattern)).matches(name) == expected)
    }

    @Test func whatIsNoPatternIsRefused() {
        #expect(NamePattern("") == nil)
        #expect(NamePattern("a*b*c") == nil)
        #expect(NamePattern("**") == nil)
        #expect(NamePattern(String(repeating: "a", count: 256)) == nil)
        #expect(NamePattern(String(repeating: "a", count: 255)) != nil)
    }
}
