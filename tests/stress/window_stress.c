/* The event-id window and an active-user set under threads that all want the same, for the sanitizers.
 *
 * Allowed outcomes. Window: of all threads that send an id in a round, exactly one keeps it, also when some give theirs
 * back and the tables turn over meanwhile; one whose duplicate was given back sends again. Set: exactly the limit is
 * let in, every member ever after, and the same users for everyone.
 *
 * arguments: rounds. Prints what it did; exits 1 at the first outcome that isn't allowed.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fanion_members.h"
#include "fanion_window.h"

enum { THREADS = 4, CAPACITY = 4096, FIRST = 1024, IDS = 600, BATCH = 20, USERS = 4000, LIMIT = 1000, SET = 1024 };

static fanion_window window;
static fanion_members set;
static uint32_t kept[IDS];
static uint8_t let_in[THREADS][USERS];
static pthread_barrier_t barrier;
static uint32_t wrong;
static int rounds;

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void shuffle(uint32_t *order, uint32_t count, uint64_t *state) {
    for (uint32_t i = 0; i < count; i++)
        order[i] = i;
    for (uint32_t i = count - 1; i > 0; i--) {
        uint32_t j = (uint32_t)(next_random(state) % (i + 1)), held = order[i];
        order[i] = order[j];
        order[j] = held;
    }
}

static void hash_of(int round, uint32_t number, uint64_t *hash) {
    hash[0] = (number * 0x9E3779B97F4A7C15ull) ^ ((uint64_t)round << 20);
    hash[1] = ((uint64_t)round << 32 | number) + 1;
}

/* As who allocates does: what was found is what is judged and what is exchanged, so that of all who see it one grows. */
static void grow(void) {
    uint64_t claims = fanion_u64_load_acquire(&window.claims->word);
    if (fanion_window_wants_growth_at(&window, claims))
        fanion_window_grow(&window, claims);
}

/* One request for some ids of the round, sent until all of it is kept somewhere. */
static void send(uint64_t writer, uint64_t *sequence, int round, const uint32_t *numbers, uint64_t *state) {
    uint64_t hashes[2 * BATCH];
    uint8_t dispositions[BATCH];
    fanion_window_entry entries[BATCH];
    for (int i = 0; i < BATCH; i++)
        hash_of(round, numbers[i], hashes + 2 * i);
    for (bool again = true; again;) {
        grow();
        if (!fanion_window_reserve(&window, hashes, BATCH, writer, *sequence + 1, dispositions, entries)) {
            grow();
            continue;
        }
        if (next_random(state) % 4 == 0) {
            for (int i = 0; i < BATCH; i++)
                if (dispositions[i] == FANION_WINDOW_NEW)
                    fanion_window_void(&window, entries[i]);
            continue;
        }
        for (int i = 0; i < BATCH; i++)
            if (dispositions[i] == FANION_WINDOW_NEW)
                __atomic_fetch_add(&kept[numbers[i]], 1, __ATOMIC_RELAXED);
        fanion_u64_raise_acq_rel(&window.control->writers[writer].settled, ++*sequence);
        again = false;
        for (int i = 0; i < BATCH; i++) {
            if (dispositions[i] != FANION_WINDOW_DUPLICATE || !entries[i].locator)
                continue;
            while (!fanion_window_is_settled(&window, entries[i].locator) && fanion_window_holds(&window, entries[i])) {
            }
            if (!fanion_window_holds(&window, entries[i]))
                again = true;
        }
    }
}

static void *run(void *argument) {
    uint64_t writer = (uint64_t)(uintptr_t)argument, sequence = 0, state = 88172645463325252ull + writer;
    uint32_t ids[IDS], users[USERS];
    for (int round = 0; round < rounds; round++) {
        shuffle(ids, IDS, &state);
        pthread_barrier_wait(&barrier);
        for (int i = 0; i < IDS; i += BATCH)
            send(writer, &sequence, round, ids + i, &state);
        pthread_barrier_wait(&barrier);
        if (writer == 0)
            for (int i = 0; i < IDS; i++)
                wrong += __atomic_exchange_n(&kept[i], 0, __ATOMIC_RELAXED) != 1;
        pthread_barrier_wait(&barrier);
    }
    shuffle(users, USERS, &state);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < USERS; i++)
        let_in[writer][users[i]] = fanion_members_join(&set, (users[i] + 1) * 0x9E3779B97F4A7C15ull, LIMIT);
    return NULL;
}

int main(int count, char **arguments) {
    rounds = count > 1 ? atoi(arguments[1]) : 100;
    void *body = calloc(1, fanion_window_bytes(CAPACITY)), *other = calloc(1, fanion_members_bytes(SET));
    window = fanion_window_attach(body, CAPACITY, FIRST, 0);
    set = fanion_members_attach(other, SET);
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (uint64_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, run, (void *)(uintptr_t)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    uint64_t members = 0;
    for (uint32_t user = 0; user < USERS; user++) {
        bool in = fanion_members_has(&set, (user + 1) * 0x9E3779B97F4A7C15ull);
        members += in;
        for (int i = 0; i < THREADS; i++)
            wrong += let_in[i][user] != in;
    }
    printf("%d rounds of %d ids, %d threads, %d lives; %d wrong; %d members\n", rounds, IDS, THREADS,
           (int)fanion_window_life(&window), (int)wrong, (int)members);
    free(body);
    free(other);
    return wrong != 0 || members != LIMIT;
}
