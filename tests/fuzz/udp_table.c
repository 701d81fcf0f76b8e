/* Any order of operations: the table finds and gives up what the naive model does. Two bytes of capacities,
 * then four an operation. */
#include "udp_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void step(struct model *model, const uint8_t op[4])
{
	struct addr source = model_source(op[2]), destination = model_destination(op[3]);
	struct model_session *s = &model->sessions[op[1]];

	model->clock++;
	if (op[0] % 8 < 3 && !s->in) {
		s->source = source;
		model_add(model, s, &destination);
	} else if (op[0] % 8 < 5) {
		udp_table_use(&model->table, &s->entry, op[0] % 8 == 4);
		s->used = model->clock;
		s->replied |= op[0] % 8 == 4;
	} else if (op[0] % 8 == 5) {
		udp_table_bind(&model->table, &s->entry, &destination);
		s->destination = destination;
	} else if (op[0] % 8 == 6 && op[0] & 8) {
		model_remove(model, s);
	}
	model_must(model_found(model, &source, &destination,
			       udp_table_find(&model->table, &source, &destination)));
	model_must(model->table.count == model->count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct model model;
	struct model_session *s;

	memset(&model, 0, sizeof(model));
	if (size < 2 || udp_table_init(&model.table, data[0], data[1] % 32))
		return 0;
	for (size_t i = 2; i + 4 <= size; i += 4)
		step(&model, data + i);
	model.table.capacity = model.count; /* full: all leave in order */
	model.table.host_capacity = 0;
	while ((s = model_oldest(&model, NULL))) {
		model_must(udp_table_victim(&model.table, &s->source) == &s->entry);
		model_remove(&model, s);
		model.table.capacity = model.count;
	}
	udp_table_deinit(&model.table);
	return 0;
}
