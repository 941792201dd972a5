import ControlPlane
import Testing

@Suite struct ConnectionBudgetTests {
    @Test func totalIsSharedByAllAddresses() {
        let budget = ConnectionBudget(limit: 2, limitPerAddress: 2)
        #expect(budget.take("a") == nil)
        #expect(budget.take("b") == nil)
        #expect(budget.take("c") == .tooManyConnections)
        budget.giveBack("a")
        #expect(budget.take("c") == nil)
        #expect(budget.open == 2)
    }

    @Test func oneAddressDoesNotTakeThePlacesOfOthers() {
        let budget = ConnectionBudget(limit: 10, limitPerAddress: 1)
        #expect(budget.take("a") == nil)
        #expect(budget.take("a") == .tooManyFromAddress)
        #expect(budget.take("b") == nil)
        budget.giveBack("a")
        #expect(budget.take("a") == nil)
    }

    @Test func whatWasNeverTakenGivesNothingBack() {
        let budget = ConnectionBudget(limit: 1, limitPerAddress: 1)
        budget.giveBack("a")
        #expect(budget.open == 0)
        #expect(budget.take("a") == nil)
        #expect(budget.take("b") == .tooManyConnections)
    }

    @Test func addressesOfOneSubscriberHaveOneKey() {
        let budget = ConnectionBudget(limit: 1, limitPerAddress: 1)
        #expect(budget.key(of: "192.0.2.7") == budget.key(of: "192.0.2.7:5000"))
        #expect(budget.key(of: "::ffff:192.0.2.7") == budget.key(of: "192.0.2.7"))
        #expect(budget.key(of: "2001:db8::1") == budget.key(of: "2001:db8:0:0:9::2"))
        #expect(budget.key(of: "2001:db8:0:1::1") != budget.key(of: "2001:db8::1"))
        #expect(budget.key(of: nil) == "unknown")
    }

    @Test func countIsRightUnderContention() async {
        let budget = ConnectionBudget(limit: 50, limitPerAddress: 20)
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<8 {
                group.addTask {
                    for round in 0..<500 {
                        let key = "\((task + round) % 5)"
                        if budget.take(key) == nil { budget.giveBack(key) }
                    }
                }
            }
        }
        #expect(budget.open == 0)
    }
}
