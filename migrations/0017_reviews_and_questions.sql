-- Reviews of buyers, reviews by arrival, imported ratings with the number of their reviews, and questions that visitors ask and vote on.

-- Whether an owner has paid for an item, whatever was refunded later.
create function has_bought(of_owner text, of_item_id bigint) returns boolean language sql stable parallel safe
return exists (
    select from payment p join payment_line l using (payment_id)
    where p.owner = of_owner and p.status = 'COMPLETED' and l.item_id = of_item_id
);

alter table review
    -- whether the reviewer had bought the item
    add column verified    boolean not null default false,
    -- when the shop received the present text, by its own clock
    add column received_at timestamptz not null default now();
create index review_received_at_idx on review (received_at desc, review_id desc);

alter table item
    -- how many reviews the imported rating is the mean of; 0: unknown
    add column rating_count integer not null default 0 constraint item_rating_count_check check (rating_count >= 0);

-- What item.rating is. Until a review that came through the API is shown, it is the imported rating. From then on it is the mean of all
-- ratings that are shown; with rating_count, that of the visitors' ratings and of rating_count times the imported one, which includes
-- the reviews that were imported.
create or replace function item_rating(of_item_id bigint, imported_rating numeric) returns numeric language sql stable parallel safe
return (
    select case
        when r.visitors = 0 then item_rating.imported_rating
        when i.rating_count = 0 then round(r.mean, 1)
        else round((item_rating.imported_rating * i.rating_count + r.of_visitors) / (i.rating_count + r.visitors), 1)
    end
    from item i cross join lateral (
        select count(*) filter (where v.owner is not null) as visitors,
               sum(v.rating) filter (where v.owner is not null) as of_visitors,
               avg(v.rating) as mean
        from review v where v.item_id = i.item_id and v.rating is not null and not v.hidden
    ) r
    where i.item_id = of_item_id
);

-- Questions about an item with the shop's answers. item.questions is what the version before this one imports; nothing else uses it.
create table question (
    -- the `id` of the API
    question_id        bigint primary key generated always as identity,
    item_id            bigint not null constraint question_item_id_fkey references item on delete cascade,
    -- who asked it through the API, as in review.owner; null: the shop imported it
    owner              text constraint question_owner_check check (owner <> '' and length(owner) <= 100),
    content            text not null constraint question_content_check check (content <> ''),
    answer             text constraint question_answer_check check (answer <> ''),
    -- hidden by the shop
    hidden             boolean not null default false,
    -- null for an imported one, whose time is unknown
    asked_at           timestamptz constraint question_asked_at_check check ((owner is null) = (asked_at is null)),
    -- all votes: the imported ones and those of question_vote
    upvotes            integer not null default 0,
    downvotes          integer not null default 0,
    imported_upvotes   integer not null default 0,
    imported_downvotes integer not null default 0,
    -- whether visitors see it: one of a visitor needs an answer
    shown              boolean not null generated always as (not hidden and (owner is null or answer is not null)) stored
);
create unique index question_content_key on question (item_id, coalesce(owner, ''), md5(content));
create index question_shown_idx on question (item_id, asked_at desc nulls last, question_id desc) where shown;
create index question_owner_idx on question (owner) where owner is not null;

-- One vote of a visitor or user on a question.
create table question_vote (
    question_id bigint not null constraint question_vote_question_id_fkey references question on delete cascade,
    -- as review.owner
    voter       text not null constraint question_vote_voter_check check (voter <> '' and length(voter) <= 100),
    up          boolean not null,
    voted_at    timestamptz not null,
    constraint question_vote_pkey primary key (question_id, voter)
);
create index question_vote_voter_idx on question_vote (voter);

-- The lists are newest first, and the newest has the highest number.
insert into question (item_id, content, answer, upvotes, downvotes, imported_upvotes, imported_downvotes)
select i.item_id, q.value ->> 'question', nullif(q.value ->> 'answer', ''), v.up, v.down, v.up, v.down
from item i
cross join lateral jsonb_array_elements(i.questions) with ordinality q (value, position)
cross join lateral (select (q.value ->> 'upvotes')::integer as up, (q.value ->> 'downvotes')::integer as down) v
where q.value ->> 'question' <> ''
order by i.item_id, q.position desc
on conflict do nothing;

-- Questions are shown with their item.
create trigger question_note_inserted after insert on question referencing new table as newer
    for each statement execute function catalog_note_reviewed();
create trigger question_note_updated after update on question referencing new table as newer
    for each statement execute function catalog_note_reviewed();
create trigger question_note_deleted after delete on question referencing old table as older
    for each statement execute function catalog_note_reviewed();

create or replace view item_card as
select i.item_id, i.id, i.category_id,
       case when n.parent_id is not null then n.id end as subcategory_id,
       i.name, i.simple_description, i.description, i.description_fields, i.currency, i.price, i.discount,
       case when s.quantity is not null then item_left(s.quantity, s.held, s.level) end as quantity,
       s.level as remainings, i.rating, i.priority, i.tags, i.badges, i.photos,
       -- the three newest that are shown
       (select coalesce(jsonb_agg(to_jsonb(newest) - 'position' order by newest.position), '[]')
        from (select q.question_id as id, q.content as question, coalesce(q.answer, '') as answer, q.upvotes, q.downvotes,
                     row_number() over (order by q.asked_at desc nulls last, q.question_id desc) as position
              from question q where q.item_id = i.item_id and q.shown
              order by q.asked_at desc nulls last, q.question_id desc limit 3) newest) as questions,
       i.translations,
       -- the three newest that are shown
       (select coalesce(jsonb_agg(to_jsonb(newest) order by newest.position), '[]')
        from (select r.id, r.rating, r.content, r.author, r.answer, r.created_at, r.verified,
                     row_number() over (order by r.created_at desc nulls last, r.review_id desc) as position
              from review r where r.item_id = i.item_id and not r.hidden
              order by r.created_at desc nulls last, r.review_id desc limit 3) newest) as reviews
from item i
join category n on n.category_id = i.node_id
left join item_stock s on s.item_id = i.item_id;
